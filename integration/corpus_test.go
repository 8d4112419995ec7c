package integration

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// specimen is a document of the corpus: a valid one with one change.
type specimen struct {
	name   string
	doc    bson.M
	refers bool // the change concerns a reference, or what one refers to
	worker bool // the change concerns a field of the worker
}

// corpus returns documents for which the collection's validator and outbox.Parse must say the same. It is made by
// changing the documents of bases at each of their places: the value is replaced by one of every type and by those at
// the edges, taken away, and given an unknown neighbour.
func corpus() []specimen {
	var list []specimen
	for _, name := range slices.Sorted(maps.Keys(bases())) {
		add := func(what string, refers bool, change func(bson.M)) {
			d := bases()[name]
			change(d)
			list = append(list, specimen{name + ": " + what, d, refers, false})
		}
		add("as it is", false, func(bson.M) {})
		for _, path := range places(bases()[name], nil) {
			where := strings.Join(path, ".")
			began, worker := len(list), name == "worked on" || name == "recorded"
			if worker && slices.Contains([]string{"_id", "kind", "status", "due_at", "payload"}, path[0]) {
				continue // a producer's, as in the others
			}
			refers := name == "follow-ups" && slices.Contains([]string{"_id", "payload", "payload.n", "payload.currency", "metadata", "metadata.order",
				"on_done.0.payload.amount"}, where) // the limits of an amount depend on a currency that is a reference
			if len(path) == 1 && where != "payload" && name != "envelope" && !worker && (name != "follow-ups" || where == "_id") {
				continue // the same in each of them
			}
			if where != "_id" { // the driver gives one to a document without
				add(where+" taken away", refers, func(d bson.M) { edit(d, path, func(c bson.M, f string) { delete(c, f) }) })
			}
			add(where+" with a neighbour", false, func(d bson.M) { edit(d, path, func(c bson.M, _ string) { c["unknwon"] = "x" }) })
			for _, v := range values() {
				add(where+" = "+v.name, refers || strings.Contains(v.name, "${"), func(d bson.M) { edit(d, path, func(c bson.M, f string) { c[f] = v.value }) })
			}
			if worker {
				for i := range list[began:] {
					list[began+i].worker = true
				}
			}
		}
	}
	return append(list, byHand()...)
}

const (
	messagingService = "MG0123456789abcdef0123456789abcdef"
	traceParent      = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
)

// bases are valid documents that together have every field of the contract that a producer writes.
func bases() map[string]bson.M {
	now := time.Now().UTC().Truncate(time.Millisecond)
	intent := func(kind string, payload bson.M) bson.M {
		return bson.M{"_id": "x", "kind": kind, "status": "pending", "due_at": now, "payload": payload}
	}
	charge := bson.M{"amount": int32(1999), "currency": "eur", "customer": "cus_1", "payment_method": "pm_1", "description": "d",
		"statement_descriptor_suffix": "s", "receipt_email": "a@b.example", "metadata": bson.M{"k": "v"}, "account": "acct_1"}
	email := bson.M{"from": bson.M{"email": "a@b.example", "name": "Shop"}, "to": "c@d.example", "subject": "s", "text": "t", "html": "<p>h</p>",
		"reply_to": "r@b.example", "cc": bson.A{"e@f.example"}, "bcc": bson.A{bson.M{"email": "g@h.example"}}, "categories": bson.A{"c"},
		"attachments": bson.A{bson.M{"content": "YQ==", "filename": "a.txt", "type": "text/plain", "disposition": "attachment", "content_id": "i"}}}
	template := bson.M{"from": "a@b.example", "to": "c@d.example", "template_id": "d-1", "template_data": bson.M{"name": "Ann", "items": bson.A{int32(1)}}}
	sms := bson.M{"to": "+4915112345678", "from": "+15550100", "body": "b", "media_urls": bson.A{"https://x.example/a.png"}, "validity_seconds": int32(60)}

	envelope := intent("sms", bson.M{"to": "+4915112345678", "messaging_service_sid": messagingService, "body": "b"})
	maps.Copy(envelope, bson.M{"v": int32(1), "expires_at": now, "priority": int32(0), "dedup_key": "k", "max_attempts": int32(3),
		"on_ambiguous": "park", "metadata": bson.M{"order": "1"}, "trace": bson.M{"traceparent": traceParent, "tracestate": "a=b"}, "created_at": now,
		"write_back": bson.M{"collection": "orders", "id": "o1", "done": bson.M{"state": "sent"}, "dead": bson.M{"code": "${last_error.code}"}, "ambiguous": bson.M{"state": "unknown"}}})
	follow := intent("fax", bson.M{"anything": bson.M{"goes": true}, "n": int32(700), "currency": "eur"})
	follow["metadata"] = bson.M{"order": "1"}
	follow["on_done"] = bson.A{bson.M{"kind": "charge", "delay_seconds": int32(60), "priority": int32(2), "max_attempts": int32(5), "on_ambiguous": "retry",
		"dedup_key": "${_id}:again", "metadata": bson.M{"order": "${metadata.order}"}, "v": int32(1), "expires_at": now, "created_at": now,
		"trace":   bson.M{"traceparent": traceParent},
		"payload": bson.M{"amount": "${payload.n}", "currency": "${payload.currency}", "customer": "c ${result.id}", "payment_method": "pm_1"}}}
	follow["on_dead"] = bson.A{bson.M{"kind": "sms", "payload": bson.M{"to": "+4915112345678", "from": "+15550100", "body": "${last_error.code} ${dead_reason}"}, "when": bson.A{"ambiguous", "expired"},
		"on_dead": bson.A{bson.M{"kind": "fax", "payload": bson.M{}, "write_back": bson.M{"collection": "orders", "id": "${_id}", "dead": bson.M{"a": "${dead_reason}"}}}}}}
	// Of what only the worker writes, each field once, as it may stand in a document that waits.
	worked := intent("sms", sms)
	maps.Copy(worked, bson.M{"attempts": int32(2), "first_attempt_at": now, "first_due_at": now, "ambiguous_at": now, "generation": int32(1), "dropped": int32(3),
		"progress": bson.M{"payment_intent": "pi_1", "at": now}, "lease": bson.M{"token": "t", "owner": "w", "at": now, "reclaimed": false},
		"last_error": bson.M{"class": "transient", "code": "timeout", "message": "m", "provider": "twilio", "provider_code": "20429", "http_status": int32(429), "request_id": "r", "at": now},
		"history": bson.A{bson.M{"what": "attempt", "attempt": int32(1), "at": now, "ms": int32(5), "outcome": "transient", "code": "timeout", "provider_code": "1", "http_status": int32(500), "request_id": "r", "ref": "SM1", "worker": "w"},
			bson.M{"what": "lookup", "first": now, "last": now, "n": int32(2), "by": "a", "why": "b", "job": "c"}},
		"retried":  bson.M{"by": "ann", "why": "w", "at": now, "n": int32(1)},
		"resolved": bson.M{"by": "ann", "why": "w", "verdict": "not_sent", "evidence": "e", "at": now}})
	recorded := intent("sms", sms)
	maps.Copy(recorded, bson.M{"first_attempt_at": now, "result": bson.M{"provider": "twilio"}, "outcome": bson.M{"event": "failed", "reason": "permanent", "class": "permanent", "attempts": int32(1),
		"failure": bson.M{"class": "permanent", "code": "declined", "message": "m", "provider": "p", "provider_code": "c", "http_status": int32(400), "request_id": "r"}, "at": now, "tries": int32(1), "why": "w"}})
	return map[string]bson.M{"worked on": worked, "recorded": recorded, "charge": intent("charge", charge), "email": intent("email", email), "template": intent("email", template),
		"sms": intent("sms", sms), "envelope": envelope, "follow-ups": follow}
}

// places returns the paths of all fields, at every depth.
func places(v any, path []string) [][]string {
	var list [][]string
	below := func(step string, v any) {
		at := append(slices.Clone(path), step)
		list = append(append(list, at), places(v, at)...)
	}
	switch v := v.(type) {
	case bson.M:
		for _, field := range slices.Sorted(maps.Keys(v)) {
			below(field, v[field])
		}
	case bson.A:
		for i, item := range v {
			at := append(slices.Clone(path), strconv.Itoa(i))
			list = append(list, places(item, at)...) // an element is replaced with its array; see byHand
		}
	}
	return list
}

// edit changes the document that holds the field at the path.
func edit(d bson.M, path []string, change func(container bson.M, field string)) {
	var at any = d
	for _, step := range path[:len(path)-1] {
		switch c := at.(type) {
		case bson.M:
			at = c[step]
		case bson.A:
			i, err := strconv.Atoi(step)
			if err != nil {
				panic(err)
			}
			at = c[i]
		}
	}
	change(at.(bson.M), path[len(path)-1])
}

type named struct {
	name  string
	value any
}

// values are of every BSON type that a driver can write, and at the edges of what some field allows.
func values() []named {
	decimal, err := bson.ParseDecimal128("5")
	if err != nil {
		panic(err)
	}
	list := []named{
		{"null", nil}, {"true", true}, {"int32 1", int32(1)}, {"int64 1", int64(1)}, {"double 1", float64(1)}, {"1.5", 1.5}, {"0", int32(0)}, {"-1", int32(-1)},
		{"3", int32(3)}, {"4", int32(4)}, {"100", int32(100)}, {"101", int32(101)}, {"2^31-1", int64(math.MaxInt32)}, {"2^31", int64(math.MaxInt32) + 1},
		{"99999999", int32(99_999_999)}, {"100000000", int32(100_000_000)}, {"int64 max", int64(math.MaxInt64)}, {"1e300", 1e300}, {"36000", int32(36_000)}, {"36001", int32(36_001)},
		{"NaN", math.NaN()}, {"infinity", math.Inf(1)}, {"-0", math.Copysign(0, -1)}, {"decimal 5", decimal},
		{"a date", time.Unix(0, 0)}, {"the first date", bson.DateTime(math.MinInt64)}, {"an ObjectId", bson.NewObjectID()},
		{"a UUID", bson.Binary{Subtype: bson.TypeBinaryUUID, Data: []byte("0123456789abcdef")}},
		{"an old UUID", bson.Binary{Subtype: bson.TypeBinaryUUIDOld, Data: []byte("0123456789abcdef")}},
		{"a short UUID", bson.Binary{Subtype: bson.TypeBinaryUUID, Data: []byte("0123")}},
		{"bytes", bson.Binary{Data: []byte("x")}}, {"a regular expression", bson.Regex{Pattern: "x"}}, {"code", bson.JavaScript("x")}, {"a symbol", bson.Symbol("x")},
		{"a timestamp", bson.Timestamp{T: 1}}, {"min key", bson.MinKey{}}, {"max key", bson.MaxKey{}}, {"undefined", bson.Undefined{}},
		{"a document", bson.M{"a": "b"}}, {"an empty document", bson.M{}}, {"a document with a number", bson.M{"a": int32(1)}}, {"a document of outbox_id", bson.M{"outbox_id": "x"}},
		{"a document with $", bson.M{"$set": bson.M{"a": "b"}}}, {"a document with an empty name", bson.M{"": "b"}}, {"a document of _id", bson.M{"_id": "b"}},
		{"a document with a dot", bson.M{"a.b": "c"}}, {"a document of _id.a", bson.M{"_id.a": "b"}},
		{"an address", bson.M{"email": "a@b.example", "name": "Ann"}}, {"an address without name", bson.M{"email": "a@b.example"}}, {"a bad address", bson.M{"email": "b.example"}},
		{"an address with more", bson.M{"email": "a@b.example", "nme": "Ann"}}, {"an address with an empty name", bson.M{"email": "a@b.example", "name": ""}},
		{"an array", bson.A{"x"}}, {"an empty array", bson.A{}}, {"an array of null", bson.A{nil}}, {"an array of an empty text", bson.A{""}}, {"an array of documents", bson.A{bson.M{}}},
		{"an array of addresses", bson.A{"a@b.example", bson.M{"email": "c@d.example"}}}, {"17 documents", repeated(17, bson.M{"kind": "fax", "payload": bson.M{}})},
		{"16 documents", repeated(16, bson.M{"kind": "fax", "payload": bson.M{}})}, {"10 texts", repeated(10, "https://x.example")}, {"11 texts", repeated(11, "https://x.example")},
		{"999 addresses", repeated(999, "a@b.example")}, {"1000 addresses", repeated(1000, "a@b.example")},
		{"47 strings", texts(47)}, {"48 strings", texts(48)}, {"50 strings", texts(50)},
		{"a name of 40 bytes", bson.M{strings.Repeat("ü", 20): "v"}}, {"a name of 41", bson.M{strings.Repeat("k", 41): "v"}},
		{"a value of 500", bson.M{"k": strings.Repeat("ü", 500)}}, {"a value of 501", bson.M{"k": strings.Repeat("v", 501)}},
	}
	for _, s := range []string{"", " ", "x", "\n", "é", "$", "EUR", "eur\n", "eur", "retry", "reconcile", "park", "Park", "pending", "leased", "done", "dead", "cancelled", "queued",
		"charge", "email", "sms", "fax", "orders", "1", "attachment", "inline", "a@b.example", "@b", "a@", "a b@c", "a@b@c", "a@b\n", "Ann <a@b.example>",
		"+4915112345678", "+1", "+12", "+0123", "+1234567890123456", "+123456789012345", "4915112345678", "+49 151", "+49151a", "+4915112345678\n",
		"12", "123", "12345678", "123456789", "SHOP", "A1", "ELEVENCHARS", "TWELVE CHARS", "Shop & Co", "Sh-op_+1", "Shöp", "shop!", messagingService, "MG12", messagingService + "0",
		"https://x.example/a", "http://x.example", "ftp://x.example", "https://", "https://a b", "HTTPS://x.example",
		"${_id}", "${payload.n}", "${payload.nothing}", "${metadata.order}", "${result.id}", "${result.nothing}", "${last_error.code}", "${last_error.message}", "${dead_reason}",
		"${", "${}", "$${_id}", "x ${_id} y", "${_id} ${_id}", "${payload}", "${_id.x}", "${status}", "${metadata.order"} {
		list = append(list, named{fmt.Sprintf("%q", s), s})
	}
	for _, n := range []int{20, 22, 23, 200, 201, 320, 321, 500, 501, 1600, 1601} {
		list = append(list, named{fmt.Sprintf("%d letters", n), strings.Repeat("x", n)}, named{fmt.Sprintf("%d umlauts", n), strings.Repeat("ü", n)})
	}
	return append(list, named{"an address of 320", strings.Repeat("x", 310) + "@b.example"}, named{"an address of 321", strings.Repeat("x", 311) + "@b.example"},
		named{"emoji", strings.Repeat("😀", 22)}, named{"many emoji", strings.Repeat("😀", 801)})
}

func repeated(n int, v any) bson.A {
	list := make(bson.A, n)
	for i := range list {
		list[i] = v
	}
	return list
}

func texts(n int) bson.M {
	m := bson.M{}
	for i := range n {
		m["k"+strconv.Itoa(i)] = "v"
	}
	return m
}

// byHand are changes in several places at once, and within arrays.
func byHand() []specimen {
	var list []specimen
	add := func(name, base string, fields bson.M) {
		d := bases()[base]
		for path, v := range fields {
			edit(d, strings.Split(path, "."), func(c bson.M, f string) {
				if c[f] = v; v == (gone{}) {
					delete(c, f)
				}
			})
		}
		list = append(list, specimen{base + ": " + name, d, strings.Contains(name, "${"), false})
	}
	for _, v := range values() {
		add("cc of "+v.name, "email", bson.M{"payload.cc": bson.A{v.value}})
		add("categories of "+v.name, "email", bson.M{"payload.categories": bson.A{v.value}})
		add("media_urls of "+v.name, "sms", bson.M{"payload.media_urls": bson.A{v.value}})
		add("attachments of "+v.name, "email", bson.M{"payload.attachments": bson.A{v.value}})
		add("on_done of "+v.name, "sms", bson.M{"on_done": bson.A{v.value}})
	}
	for _, currency := range []string{"usd", "eur", "gbp", "jpy", "krw", "huf", "idr", "inr", "cop", "lbp", "kwd", "tnd", "isk", "ugx", "twd", "czk", "mxn", "vnd", "xof", "dkk", "nok", "hkd", "aed", "bgn", "xxx"} {
		for _, amount := range []any{int32(1), int32(29), int32(30), int32(49), int32(50), int32(55), int32(99), int32(100), int32(199), int32(200), int32(249), int32(250), int32(299), int32(300),
			int32(399), int32(400), int32(501), int32(999), int32(1000), int32(1499), int32(1500), int32(17_499), int32(17_500), float64(5125), int64(99_999_999), int64(100_000_000), float64(100_000_000),
			int64(999_999_999), int64(1_000_000_000), int64(9_999_999_999), int64(10_000_000_000), int64(99_999_999_999), int64(100_000_000_000), int64(999_999_999_999), float64(1e12)} {
			add(fmt.Sprintf("%v of %s", amount, currency), "charge", bson.M{"payload.amount": amount, "payload.currency": currency})
			follow := bson.M{"kind": "charge", "payload": bson.M{"amount": amount, "currency": currency, "customer": "c", "payment_method": "p"}}
			add(fmt.Sprintf("follow-up of %v of %s", amount, currency), "sms", bson.M{"on_done": bson.A{follow}})
		}
	}
	for _, v := range values() {
		for name, data := range map[string]any{"a value": bson.M{"x": v.value}, "an element": bson.M{"x": bson.A{int32(1), v.value}}, "a deep value": bson.M{"x": bson.A{bson.M{"y": bson.A{bson.M{"z": v.value}}}}}} {
			add(name+" of template_data: "+v.name, "template", bson.M{"payload.template_data": data})
			if !strings.Contains(v.name, "${") {
				add("follow-up with "+name+" of template_data: "+v.name, "sms", bson.M{"on_dead": bson.A{bson.M{"kind": "email",
					"payload": bson.M{"from": "a@b.example", "to": "c@d.example", "template_id": "d-1", "template_data": data}}}})
			}
		}
		add("when "+v.name, "sms", bson.M{"on_dead": bson.A{bson.M{"kind": "fax", "payload": bson.M{}, "when": v.value}}})
		add("when one is "+v.name, "sms", bson.M{"on_dead": bson.A{bson.M{"kind": "fax", "payload": bson.M{}, "when": bson.A{"invalid", v.value}}}})
		add("when of on_done "+v.name, "sms", bson.M{"on_done": bson.A{bson.M{"kind": "fax", "payload": bson.M{}, "when": v.value}}})
	}
	for depth := 1; depth <= 12; depth++ {
		var data any = "x"
		for n := range depth {
			if data = any(bson.A{data}); n%2 == 0 || n == depth-1 {
				data = bson.M{"x": data.(bson.A)[0]}
			}
		}
		add(fmt.Sprintf("template_data %d deep", depth), "template", bson.M{"payload.template_data": data})
	}
	for _, label := range []string{"outbox_id", "outbox_ns", "outbox_key", "outbox", "Outbox_ns"} {
		add("metadata."+label, "sms", bson.M{"metadata": bson.M{label: "x"}})
		add("payload.metadata."+label, "charge", bson.M{"payload.metadata": bson.M{label: "x"}})
	}
	add("cc and bcc at the limit", "email", bson.M{"payload.cc": repeated(499, "a@b.example"), "payload.bcc": repeated(500, "a@b.example")})
	add("cc and bcc above the limit", "email", bson.M{"payload.cc": repeated(500, "a@b.example"), "payload.bcc": repeated(500, "a@b.example")})
	add("neither text nor html", "email", bson.M{"payload.text": gone{}, "payload.html": gone{}})
	add("html alone", "email", bson.M{"payload.text": gone{}})
	add("template and subject", "template", bson.M{"payload.subject": "s"})
	add("data without template", "email", bson.M{"payload.template_data": bson.M{}})
	add("neither body nor media", "sms", bson.M{"payload.body": gone{}, "payload.media_urls": gone{}})
	add("empty media alone", "sms", bson.M{"payload.body": gone{}, "payload.media_urls": bson.A{}})
	add("two senders", "sms", bson.M{"payload.messaging_service_sid": messagingService})
	add("no sender", "sms", bson.M{"payload.from": gone{}})
	add("ordering_key", "sms", bson.M{"ordering_key": "k"})
	for _, field := range []string{"__v", "_class", "createdAt", "updatedAt"} {
		for at, base := range map[string]string{"": "charge", "payload.": "email", "payload.from.": "email", "trace.": "envelope", "write_back.": "envelope", "metadata.": "envelope"} {
			add(at+field, base, bson.M{at + field: int32(0)})
			add(at+field+", a document", base, bson.M{at + field: bson.M{"a": bson.A{nil}}})
		}
		f := bson.M{"kind": "sms", field: "x", "payload": bson.M{"to": "+4915112345678", "from": "+15550100", "body": "b", field: 1.5}}
		add("follow-up with "+field, "sms", bson.M{"on_done": bson.A{f}})
	}
	add("every optional field null", "sms", bson.M{"v": nil, "expires_at": nil, "priority": nil, "dedup_key": nil, "max_attempts": nil, "on_ambiguous": nil,
		"on_done": nil, "on_dead": nil, "write_back": nil, "metadata": nil, "trace": nil, "created_at": nil, "payload.messaging_service_sid": nil,
		"payload.media_urls": nil, "payload.validity_seconds": nil})
	add("a null for each of a choice", "template", bson.M{"payload.subject": nil, "payload.text": nil, "payload.html": nil})
	add("a null in place of a template", "email", bson.M{"payload.template_id": nil, "payload.template_data": nil})
	add("nulls in a follow-up", "sms", bson.M{"on_dead": bson.A{bson.M{"kind": "sms", "delay_seconds": nil, "when": nil, "dedup_key": nil, "on_done": nil, "metadata": bson.M{"a": nil},
		"payload": bson.M{"to": "+4915112345678", "from": "+15550100", "body": "b", "media_urls": nil}}}})
	add("both cases of a field", "sms", bson.M{"Kind": "sms"})
	nested := func(depth int) bson.M {
		d := bson.M{"kind": "fax", "payload": bson.M{}}
		for range depth - 1 {
			d = bson.M{"kind": "fax", "payload": bson.M{}, "on_done": bson.A{d}}
		}
		return d
	}
	for depth := 1; depth <= 5; depth++ {
		add(fmt.Sprintf("follow-ups %d deep", depth), "sms", bson.M{"on_done": bson.A{nested(depth)}})
	}
	for _, own := range []string{"_id", "status", "due_at", "attempts", "lease", "result", "done_at", "purge_at", "dead_reason", "generation", "progress", "history", "last_error", "outcome", "dropped", "retried", "resolved", "first_due_at"} {
		f := nested(1)
		f[own] = "x"
		add("follow-up with "+own, "sms", bson.M{"on_done": bson.A{f}})
	}
	return list
}

// gone stands for a field that is taken away.
type gone struct{}
