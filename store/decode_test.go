package store

import (
	"math"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/outbox"
)

// every returns a document with a value of every type that BSON has.
func every() bson.D {
	return bson.D{
		{Key: "_id", Value: bson.ObjectID{1, 2}},
		{Key: "string", Value: "a\x00ü"}, {Key: "empty", Value: ""}, {Key: "true", Value: true}, {Key: "false", Value: false}, {Key: "null", Value: nil},
		{Key: "int32", Value: int32(-5)}, {Key: "int64", Value: int64(math.MinInt64)}, {Key: "double", Value: 2.5}, {Key: "inf", Value: math.Inf(-1)},
		{Key: "date", Value: bson.DateTime(-1)}, {Key: "far", Value: bson.DateTime(math.MaxInt64)},
		{Key: "uuid", Value: bson.Binary{Subtype: 4, Data: make([]byte, 16)}},
		{Key: "doc", Value: bson.D{{Key: "a", Value: bson.A{int32(1), bson.D{}}}}}, {Key: "array", Value: bson.A{}},

		{Key: "decimal", Value: bson.NewDecimal128(1, 2)}, {Key: "binary", Value: bson.Binary{Subtype: 0, Data: []byte("x")}},
		{Key: "short", Value: bson.Binary{Subtype: 4, Data: []byte("x")}}, {Key: "old", Value: bson.Binary{Subtype: 2, Data: []byte("x")}},
		{Key: "regex", Value: bson.Regex{Pattern: "^a", Options: "i"}}, {Key: "timestamp", Value: bson.Timestamp{T: 1, I: 2}},
		{Key: "code", Value: bson.JavaScript("f()")}, {Key: "scoped", Value: bson.CodeWithScope{Code: "f()", Scope: bson.D{{Key: "a", Value: 1}}}},
		{Key: "symbol", Value: bson.Symbol("s")}, {Key: "undefined", Value: bson.Undefined{}}, {Key: "pointer", Value: bson.DBPointer{DB: "d.c"}},
		{Key: "min", Value: bson.MinKey{}}, {Key: "max", Value: bson.MaxKey{}},
	}
}

func marshal(tb testing.TB, v any) bson.Raw {
	tb.Helper()
	raw, err := bson.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

func TestDecode(t *testing.T) {
	doc, err := decode(marshal(t, every()))
	if err != nil {
		t.Fatalf("decode: %v", err)
	}
	want := map[string]any{
		"_id": outbox.NewObjectID([12]byte{1, 2}), "string": "a\x00ü", "empty": "", "true": true, "false": false, "null": nil,
		"int32": int64(-5), "int64": int64(math.MinInt64), "double": 2.5, "inf": math.Inf(-1),
		"date": time.UnixMilli(-1).UTC(), "far": time.UnixMilli(math.MaxInt64).UTC(), "uuid": outbox.NewUUID([16]byte{}),
		"doc": map[string]any{"a": []any{int64(1), map[string]any{}}}, "array": []any{},
	}
	types := map[string]string{
		"decimal": "decimal", "binary": "binData", "short": "binData", "old": "binData", "regex": "regex", "timestamp": "timestamp", "code": "javascript",
		"scoped": "javascript", "symbol": "symbol", "undefined": "undefined", "pointer": "dbPointer", "min": "min key", "max": "max key",
	}
	for name, got := range doc {
		if u, ok := got.(outbox.Unsupported); ok {
			if types[name] == "" || u.Type != types[name] {
				t.Errorf("%s is unsupported as %q, want %q", name, u.Type, types[name])
			}
		} else if value, known := want[name]; !known || !reflect.DeepEqual(got, value) {
			t.Errorf("%s is %#v, want %#v", name, got, value)
		}
	}
	if len(doc) != len(every()) {
		t.Errorf("read %d fields of %d", len(doc), len(every()))
	}
}

// What is read and written again is what it was, types without a meaning included. Only the width of integers and the
// order of fields may differ, which no comparison of the database sees.
func TestDecodeEncode(t *testing.T) {
	raw := marshal(t, every())
	doc, err := decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	again := marshal(t, encodeDocument(doc))
	for _, e := range every() {
		was, is := raw.Lookup(e.Key), again.Lookup(e.Key)
		if !was.Equal(is) {
			t.Errorf("%s was %v and is %v", e.Key, was, is)
		}
	}
}

func TestDecodeForeignID(t *testing.T) {
	for _, id := range []any{int32(1), int64(1) << 40, 1.5, true, nil, bson.D{{Key: "b", Value: 1}, {Key: "a", Value: 2}}, bson.Binary{Data: []byte("x")}, bson.NewDecimal128(1, 2), bson.DateTime(5)} {
		raw := marshal(t, bson.D{{Key: "_id", Value: id}})
		doc, err := decode(raw)
		if err != nil {
			t.Errorf("%v: %v", id, err)
			continue
		}
		in := outbox.Parse(doc, outbox.Rules{})
		if len(in.Problems) == 0 || in.Problems[0].Path != "_id" {
			t.Errorf("%v: the problems are %v", id, in.Problems)
		}
		if written := marshal(t, bson.D{{Key: "_id", Value: idOf(in)}}); !reflect.DeepEqual(raw, written) {
			t.Errorf("%v is written as %v", id, written)
		}
	}
}

func TestDecodeDeep(t *testing.T) {
	nest := func(levels int, array bool) any {
		var v any = "bottom"
		for range levels {
			if array {
				v = bson.A{v}
			} else {
				v = bson.D{{Key: "a", Value: v}}
			}
		}
		return v
	}
	for _, array := range []bool{false, true} {
		doc, err := decode(marshal(t, bson.D{{Key: "_id", Value: "x"}, {Key: "ok", Value: nest(maxNesting-1, array)}, {Key: "deep", Value: nest(5000, array)}}))
		if err != nil {
			t.Fatalf("decode: %v", err)
		}
		depth := func(v any) (int, any) {
			for n := 0; ; n++ {
				switch at := v.(type) {
				case map[string]any:
					v = at["a"]
				case []any:
					v = at[0]
				default:
					return n, v
				}
			}
		}
		if n, bottom := depth(doc["ok"]); n != maxNesting-1 || bottom != "bottom" {
			t.Errorf("read %d levels down to %v", n, bottom)
		}
		n, bottom := depth(doc["deep"])
		if u, ok := bottom.(outbox.Unsupported); !ok || n != maxNesting-1 || !strings.Contains(u.Type, "nested") {
			t.Errorf("read %d levels down to %T", n, bottom)
		}
	}
}

// A document of many small values takes no more memory than one of its size should, and can be settled all the same.
func TestDecodeMany(t *testing.T) {
	const n = 1_000_000
	fields, list := make(bson.D, 0, n), make(bson.A, n)
	for i := range n {
		fields = append(fields, bson.E{Key: strconv.FormatInt(int64(i), 36)})
		list[i] = bson.MinKey{}
	}
	lease := bson.E{Key: "lease", Value: bson.D{{Key: "token", Value: "t"}}}
	for what, d := range map[string]bson.D{
		"fields":  append(append(bson.D{{Key: "_id", Value: "x"}}, fields...), lease),
		"payload": {{Key: "_id", Value: "x"}, {Key: "payload", Value: fields}, lease},
		"array":   {{Key: "_id", Value: "x"}, {Key: "payload", Value: bson.D{{Key: "a", Value: list}}}, lease},
	} {
		raw := marshal(t, d)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		doc, err := decode(raw)
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Fatal(err)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 64<<20 {
			t.Errorf("%s: reading %d MiB took %d MiB", what, len(raw)>>20, took>>20)
		}
		in := outbox.Parse(doc, outbox.Rules{})
		if in.ID.String() != "x" || in.Lease.Token != "t" || !slices.ContainsFunc(in.Problems, func(p outbox.Problem) bool { return p.Path == "more_fields" || p.Path == "payload" }) {
			t.Errorf("%s: %s under %q with the problems %v", what, in.ID, in.Lease.Token, in.Problems)
		}
	}
}

// FuzzDecode: whatever the bytes, reading them ends, takes memory in proportion, and what can be read can be written.
func FuzzDecode(f *testing.F) {
	whole := marshal(f, every())
	f.Add([]byte(whole))
	for n := range whole {
		f.Add([]byte(whole[:n]))
	}
	f.Add([]byte(marshal(f, intentDocument())))
	for _, e := range every()[1:] { // each type where a field of the contract is expected
		for _, field := range []string{"_id", "kind", "due_at", "lease", "history", "payload", "on_done", "write_back", "metadata"} {
			d := append(bson.D{{Key: field, Value: e.Value}}, intentDocument()...)
			f.Add([]byte(marshal(f, d)))
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		doc, err := decode(raw)
		if err != nil {
			return
		}
		in := outbox.Parse(doc, outbox.Rules{WriteBack: []string{"orders"}})
		for _, p := range in.Problems {
			if len(p.String()) > 1000 || strings.ContainsFunc(p.String(), unicode.IsControl) {
				t.Errorf("a problem that floods or steers a log: %q", p)
			}
		}
		if _, err := bson.Marshal(encodeDocument(doc)); err != nil && !strings.Contains(err.Error(), "key") {
			t.Errorf("what was read cannot be written: %v", err)
		}
	})
}

// intentDocument is an intent of about half a kilobyte, as a claim reads it.
func intentDocument() bson.D {
	now := bson.NewDateTimeFromTime(time.Unix(1_700_000_000, 0))
	return bson.D{
		{Key: "_id", Value: bson.NewObjectID()}, {Key: "kind", Value: "email"}, {Key: "status", Value: "leased"}, {Key: "due_at", Value: now},
		{Key: "payload", Value: bson.D{
			{Key: "from", Value: "shop@example.com"}, {Key: "to", Value: bson.D{{Key: "email", Value: "someone@example.com"}, {Key: "name", Value: "Some One"}}},
			{Key: "subject", Value: "Your receipt"}, {Key: "text", Value: strings.Repeat("Thank you. ", 20)},
		}},
		{Key: "metadata", Value: bson.D{{Key: "order", Value: "4711"}}}, {Key: "attempts", Value: int32(1)}, {Key: "first_attempt_at", Value: now},
		{Key: "lease", Value: bson.D{{Key: "token", Value: "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}, {Key: "owner", Value: "worker-1"}, {Key: "at", Value: now}, {Key: "reclaimed", Value: false}}},
	}
}

func BenchmarkDecodeClaim(b *testing.B) {
	raw := marshal(b, intentDocument())
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		doc, err := decode(raw)
		if err != nil {
			b.Fatal(err)
		}
		if in := outbox.Parse(doc, outbox.Rules{}); len(in.Problems) > 0 {
			b.Fatal(in.Problems)
		}
	}
}

// BenchmarkEncodeSettle is the work for one command that settles 200 intents; divide by 200.
func BenchmarkEncodeSettle(b *testing.B) {
	s := &Store{retention: defaultRetention}
	batch := make([]outbox.Settlement, 200)
	for i := range batch {
		doc, err := decode(marshal(b, intentDocument()))
		if err != nil {
			b.Fatal(err)
		}
		batch[i] = outbox.Settlement{Intent: outbox.Parse(doc, outbox.Rules{}), Took: time.Second, Decision: outbox.Decision{
			Status: outbox.StatusDone, Attempts: 1, Counted: true, Outcome: outbox.Done, Receipt: &outbox.Receipt{Provider: "sendgrid", ID: "14c5d75ce93.dfd.64b469"},
		}}
	}
	b.ReportAllocs()
	for b.Loop() {
		all, err := rounds(batch)
		if err != nil {
			b.Fatal(err)
		}
		for _, part := range []any{fence(all[0]), bson.D{{Key: "pipeline", Value: s.settling(all[0])}}} {
			if _, err := bson.Marshal(part); err != nil {
				b.Fatal(err)
			}
		}
	}
}
