package contractcheck

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/migrations"
	"github.com/outboxd/outboxd/producer"
	"github.com/outboxd/outboxd/producer/outboxdtest"
)

const packed = "../outboxdtest/contract.json.gz"

// The rules of outboxdtest are those of the validator. With UPDATE=1 the test writes them.
func TestTheRulesAreCurrent(t *testing.T) {
	t.Parallel()
	text, err := migrations.BSONSchema()
	if err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	if err := json.Compact(&want, text); err != nil {
		t.Fatal(err)
	}
	if os.Getenv("UPDATE") != "" {
		var out bytes.Buffer
		w, _ := gzip.NewWriterLevel(&out, gzip.BestCompression) // the level is one that there is
		if _, err := w.Write(want.Bytes()); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(packed, out.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := outboxdtest.Contract()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, want.Bytes()) {
		t.Error("outboxdtest has other rules than the validator: run this test with UPDATE=1")
	}
}

// document is a valid intent with changes: a value that is nil takes a field away.
func document(base bson.M, changes bson.M) bson.M {
	doc := maps.Clone(base)
	payload, _ := doc["payload"].(bson.M)
	doc["payload"] = maps.Clone(payload)
	for path, v := range changes {
		at, name := doc, path
		if field, ok := strings.CutPrefix(path, "payload."); ok {
			at, name = doc["payload"].(bson.M), field
		}
		if v == nil {
			delete(at, name)
		} else {
			at[name] = v
		}
	}
	return doc
}

// corpus returns good and bad documents: each field of each kind with values of every type and at every limit.
func corpus() map[string]bson.M {
	now := time.Now()
	address := bson.M{"email": "a@b.example"}
	bases := map[string]bson.M{
		"sms":    {"to": "+4915112345678", "from": "+15005550006", "body": "It is in."},
		"email":  {"from": address, "to": address, "subject": "s", "text": "t"},
		"charge": {"amount": 1999, "currency": "eur", "customer": "cus_1", "payment_method": "pm_1"},
		"fax":    {"anything": bson.M{"goes": true}},
		"fex":    {},
	}
	decimal, _ := bson.ParseDecimal128("19.99")
	deep := bson.M{"x": 1}
	for range 9 {
		deep = bson.M{"a": deep}
	}
	many := func(n int) bson.A { return bson.A(slices.Repeat([]any{address}, n)) }
	follow := func(kind string, more bson.M) bson.A {
		f := bson.M{"kind": kind, "payload": bases[kind]}
		maps.Copy(f, more)
		return bson.A{f}
	}
	values := map[string]any{
		"absent": nil, "null": bson.Null{}, "text": "x", "empty": "", "number": 1, "zero": 0, "big": int64(1) << 40, "fraction": 1.5, "decimal": decimal,
		"date": now, "bool": true, "document": bson.M{"a": 1}, "list": bson.A{"a"}, "empty list": bson.A{}, "long": strings.Repeat("ü", 3000),
		"email": "a@b.example", "address": address, "url": "https://x.example/a.png", "list of urls": bson.A{"https://x.example/a"}, "E.164": "+4915112345678",
		"newline": "+4915112345678\n", "reference": "${metadata.a}", "word": "retry", "500 addresses": many(500), "1001 addresses": many(1001),
		"deep": deep, "template": bson.M{"a": decimal}, "uuid": bson.Binary{Subtype: 4, Data: make([]byte, 16)}, "binary": bson.Binary{Data: make([]byte, 16)},
		"object id": bson.NewObjectID(), "currency": "eur", "upper": "EUR", "metadata": bson.M{"a": "b", "n": 1}, "reserved": bson.M{"outbox_id": "x"},
		"operator": bson.M{"collection": "c", "id": "x", "done": bson.M{"$set": 1}}, "write back": bson.M{"collection": "c", "id": "x", "done": bson.M{"a": 1}},
		"trace": bson.M{"traceparent": "00", "x": 1}, "service": "MG0123456789abcdef0123456789abcdef", "template id": "d-1",
		"attachment": bson.A{bson.M{"content": "YQ==", "filename": "a", "disposition": "inline"}}, "attachment without a name": bson.A{bson.M{"content": "YQ=="}},
		"follow-up": follow("sms", nil), "follow-up with an id": follow("sms", bson.M{"_id": "x"}), "follow-up of a mistyped kind": follow("fex", nil),
		"follow-up with a reason": follow("email", bson.M{"when": bson.A{"expired"}}), "follow-up by a whim": follow("fax", bson.M{"when": bson.A{"bored"}}),
		"follow-up with a follow-up": follow("sms", bson.M{"on_dead": follow("charge", bson.M{"on_done": follow("email", nil)})}),
		"too deep":                   follow("sms", bson.M{"on_dead": follow("sms", bson.M{"on_dead": follow("sms", bson.M{"on_dead": follow("sms", nil)})})}),
		"17 follow-ups":              bson.A(slices.Repeat([]any(follow("sms", nil)), 17)),
		"a bad follow-up":            follow("sms", bson.M{"payload": bson.M{"to": "0151"}}),
	}
	fields := []string{"_id", "v", "kind", "status", "due_at", "expires_at", "priority", "dedup_key", "max_attempts", "on_ambiguous", "write_back", "metadata",
		"trace", "created_at", "on_done", "on_dead", "on_dane", "ordering_key", "attempts", "lease", "first_attempt_at", "dead_at", "__v"}
	own := map[string][]string{
		"sms":    {"to", "from", "body", "media_urls", "messaging_service_sid", "validity_seconds", "text"},
		"email":  {"from", "to", "cc", "bcc", "reply_to", "subject", "text", "html", "template_id", "template_data", "attachments", "categories", "x"},
		"charge": {"amount", "currency", "customer", "payment_method", "description", "statement_descriptor_suffix", "receipt_email", "metadata", "account", "x"},
		"fax":    {"template_data"},
	}
	list := make(map[string]bson.M)
	for kind, payload := range bases {
		base := bson.M{"kind": kind, "status": "pending", "due_at": now, "payload": payload}
		list[kind] = base
		for what, v := range values {
			list[kind+" as "+what] = document(base, bson.M{"payload": v})
			for _, f := range own[kind] {
				list[kind+" with payload."+f+" as "+what] = document(base, bson.M{"payload." + f: v})
			}
			if kind == "sms" || kind == "email" && slices.Contains([]string{"deep", "template"}, what) {
				for _, f := range fields {
					list[kind+" with "+f+" as "+what] = document(base, bson.M{f: v})
				}
			}
		}
		for _, code := range []string{"jpy", "JPY", "kwd", "idr", "xxx", "usd"} {
			for _, amount := range []any{1, 49, 50, 99_999_999, int64(100_000_000), int64(999_999_999_999), 1230, 1234} {
				list[kind+" of "+code+" "+strings.TrimSpace(bson.D{{Key: "n", Value: amount}}.String())] =
					document(base, bson.M{"payload.currency": code, "payload.amount": amount})
			}
		}
	}
	// At the limits of what only query expressions can say.
	email := list["email"]
	templated := func(data any) bson.M {
		return bson.M{"from": address, "to": address, "template_id": "d-1", "template_data": data}
	}
	for _, n := range []int{998, 999, 1000} {
		list["email with cc and bcc of "+strconv.Itoa(n)] = document(email, bson.M{"payload.cc": many(500), "payload.bcc": many(n - 500)})
	}
	for _, n := range []int{199, 200, 201} {
		list["_id of bytes "+strconv.Itoa(n)] = document(email, bson.M{"_id": strings.Repeat("i", n)})
		list["_id of two bytes each "+strconv.Itoa(n)] = document(email, bson.M{"_id": strings.Repeat("ü", n/2) + "i"})
	}
	var nested any = "x"
	for n := range 11 {
		list["template_data of levels "+strconv.Itoa(n)] = document(email, bson.M{"payload": templated(nested)})
		list["template_data of a follow-up, of levels "+strconv.Itoa(n)] = document(email, bson.M{
			"on_dead": bson.A{bson.M{"kind": "email", "payload": templated(nested)}}})
		nested = map[bool]any{true: bson.M{"a": nested}, false: bson.A{nested}}[n != 2]
	}
	for what, v := range map[string]any{"NaN": math.NaN(), "infinity": math.Inf(1), "a timestamp": bson.Timestamp{T: 1}, "a regex": bson.Regex{Pattern: "x"},
		"code": bson.JavaScript("x"), "a uuid": bson.Binary{Subtype: 4, Data: make([]byte, 16)}, "bytes": bson.Binary{Data: []byte{1}}, "a date": now} {
		list["template_data with "+what] = document(email, bson.M{"payload": templated(bson.M{"a": v})})
	}
	return list
}

// outboxdtest takes what the collection's validator takes, and refuses what it refuses, for the same reasons.
func TestOutboxdtestAgreesWithTheValidator(t *testing.T) {
	t.Parallel()
	c := outboxOf(t)
	valid, invalid, differ := 0, 0, 0
	for name, doc := range corpus() {
		_, err := c.InsertOne(t.Context(), doc)
		want := producer.Reasons(err)
		if err != nil && len(want) == 0 && strings.Contains(err.Error(), "_id") { // the server refuses it before any rule
			continue
		}
		if err != nil && len(want) == 0 {
			t.Fatalf("%s: %v", name, err)
		}
		if err == nil {
			if _, err := c.DeleteMany(t.Context(), bson.D{}); err != nil {
				t.Fatal(err)
			}
		}
		got, err := outboxdtest.Check(doc, "fax")
		switch {
		case err != nil:
			t.Errorf("%s: %v", name, err)
		case (len(got) == 0) != (len(want) == 0):
			t.Errorf("%s: outboxdtest says %q, the validator %q", name, got, want)
		case len(want) == 0:
			valid++
		default:
			invalid++
			if !slices.Equal(lines(got), lines(want)) {
				if differ++; differ <= 10 {
					t.Errorf("%s:\n%s\nthe validator's reasons are\n%s", name, strings.Join(lines(got), "\n"), strings.Join(lines(want), "\n"))
				}
			}
		}
	}
	t.Logf("both take %d and refuse %d documents; of %d the reasons differ", valid, invalid, differ)
	if valid < 300 || invalid < 1500 {
		t.Errorf("the corpus has %d valid and %d invalid documents", valid, invalid)
	}
}

func lines(reasons []producer.Reason) []string {
	var list []string
	for _, r := range reasons {
		slices.Sort(r.Unknown) // Go's maps have no order
		list = append(list, r.String())
	}
	slices.Sort(list)
	return slices.Compact(list)
}
