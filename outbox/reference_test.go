package outbox

import (
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"
)

func testScope() scope {
	return scope{
		"_id":         NewObjectID([12]byte{0xab}),
		"payload":     map[string]any{"n": int64(7), "f": 1.5, "b": true, "s": "text ${payload.n}", "when": testNow, "null": nil, "list": []any{"a", map[string]any{"k": "v"}}, "doc": map[string]any{"k": int64(1)}},
		"metadata":    map[string]any{"tenant": "t1"},
		"result":      map[string]any{"id": "SM1"},
		"last_error":  map[string]any{"code": "declined", "message": "not to be had"},
		"dead_reason": "permanent",
	}
}

func TestReferences(t *testing.T) {
	rows := []struct {
		text string
		want any // nil: refused, unless it is ${payload.null}
	}{
		{"", ""},
		{"no reference, $5 and {x} and $", "no reference, $5 and {x} and $"},
		// Alone, a reference keeps its type.
		{"${_id}", NewObjectID([12]byte{0xab})},
		{"${payload.n}", int64(7)},
		{"${payload.f}", 1.5},
		{"${payload.b}", true},
		{"${payload.when}", testNow},
		{"${payload.doc}", map[string]any{"k": int64(1)}},
		{"${payload.list}", []any{"a", map[string]any{"k": "v"}}},
		{"${payload.list.0}", "a"},
		{"${payload.list.1.k}", "v"},
		{"${metadata.tenant}", "t1"},
		{"${result.id}", "SM1"},
		{"${last_error.code}", "declined"},
		{"${dead_reason}", "permanent"},
		// What a reference brings along is not looked at again.
		{"${payload.s}", "text ${payload.n}"},
		{"-${payload.s}-", "-text ${payload.n}-"},
		// Within a text.
		{" ${payload.n}", " 7"},
		{"${payload.n} ", "7 "},
		{"${payload.n}${payload.n}", "77"},
		{"${_id}/${payload.f}/${payload.b}/${payload.when}", "ab0000000000000000000000/1.5/true/2026-03-01T12:00:00Z"},
		// A literal.
		{"$${", "${"},
		{"$${payload.n}", "${payload.n}"},
		{"$${a} ${payload.n} $${b}", "${a} 7 ${b}"},
		{"${payload.n}$${payload.n}", "7${payload.n}"},
		{"$$${x}", "$${x}"},
		{"$$", "$$"},
		// What cannot exist.
		{"${}", nil}, {"${payload}", nil}, {"${payload.}", nil}, {"${payload.x}", nil}, {"${payload.n.x}", nil}, {"${payload.list.2}", nil},
		{"${payload.list.-1}", nil}, {"${payload.list.x}", nil}, {"${metadata}", nil}, {"${result}", nil}, {"${last_error}", nil},
		{"${last_error.message}", nil}, {"${last_error.code.x}", nil}, {"${_id.x}", nil}, {"${dead_reason.x}", nil}, {"${status}", nil},
		{"${ _id}", nil}, {"${_id", nil}, {"${", nil}, {"a ${_id", nil}, {"${${_id}}", nil},
		// What has no text.
		{"a ${payload.doc}", nil}, {"a ${payload.list}", nil}, {"a ${payload.null}", nil},
	}
	for _, r := range rows {
		got, bad := newResolver(testScope()).resolve("field", r.text)
		if (bad != nil) != (r.want == nil) || bad == nil && !reflect.DeepEqual(got, r.want) {
			t.Errorf("%q: got %#v, %v, want %#v", r.text, got, bad, r.want)
		}
	}
	if got, bad := newResolver(testScope()).resolve("field", "${payload.null}"); got != nil || bad != nil {
		t.Errorf("null: got %v, %v", got, bad)
	}
}

func TestReferencesAreResolvedHoweverDeep(t *testing.T) {
	in := map[string]any{"a": []any{map[string]any{"b": "${payload.n}", "c": 1.5}, "${_id} $${"}, "d": nil, "e": int64(1)}
	want := map[string]any{"a": []any{map[string]any{"b": int64(7), "c": 1.5}, "ab0000000000000000000000 ${"}, "d": nil, "e": int64(1)}
	got, bad := newResolver(testScope()).document(in)
	if bad != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v", got, bad)
	}
	if in["a"].([]any)[0].(map[string]any)["b"] != "${payload.n}" {
		t.Error("the producer's document was changed")
	}
	_, bad = newResolver(testScope()).document(map[string]any{"z": "${x}", "a": []any{"ok", map[string]any{"b": "${payload.no}"}}})
	if bad == nil || bad.path != "a.1.b" || bad.text != "refers to ${payload.no}, which cannot exist; a literal ${ is written $${" {
		t.Errorf("got %+v", bad)
	}
}

func TestReferencesToWhatIsKnownLaterFitAnywhere(t *testing.T) {
	doc := document(KindSMS, smsPayload())
	doc["on_done"] = []any{map[string]any{
		"kind": "charge", "expires_at": "${result.id}", "max_attempts": "${result.id}", "metadata": map[string]any{"m": "sms ${result.id} sent"},
		"payload": map[string]any{"amount": "${result.id}", "currency": "${result.status}", "customer": "${result.provider}", "payment_method": "a ${result.id}"},
		"on_done": []any{map[string]any{"kind": "fax", "payload": map[string]any{"parent": "${payload.amount}", "own": "${result.id}", "id": "${_id}"}}},
	}}
	doc["on_dead"] = []any{map[string]any{"kind": "email", "dedup_key": "${dead_reason}", "payload": map[string]any{
		"from": "${last_error.code}", "to": "${dead_reason}", "subject": "${dead_reason}: ${payload.body}", "text": "t",
		"cc": []any{"${last_error.code}"}, "categories": []any{"${dead_reason}"}}}}
	if in := Parse(doc, Rules{}); len(in.Problems) > 0 {
		t.Errorf("%q", problems(in))
	}
	// Each outcome has its own references.
	doc["on_done"] = []any{map[string]any{"kind": "fax", "payload": map[string]any{"a": "${dead_reason}"}}}
	doc["on_dead"] = []any{map[string]any{"kind": "fax", "payload": map[string]any{"a": "${result.id}"}}}
	if in := Parse(doc, Rules{}); len(in.Problems) != 2 || in.Problems[0].Path != "on_done.0.payload.a" || in.Problems[1].Path != "on_dead.0.payload.a" {
		t.Errorf("%q", problems(in))
	}
}

func TestAsTextIsUTC(t *testing.T) {
	at := time.Date(2026, 3, 1, 14, 0, 0, 1e6, time.FixedZone("", 7200))
	if got, _ := asText(at); got != "2026-03-01T12:00:00.001Z" {
		t.Error(got)
	}
}

func TestResolvedSizesAreThoseOfBSON(t *testing.T) {
	rows := []struct {
		value any
		size  int
	}{
		{"no reference", 5 + 12},
		{"${payload.n}", 21},
		{"${metadata.tenant}", 5 + 2},
		{"${payload.doc}", 5 + 2 + 1 + 21},
		{"${payload.list}", 5 + (9 + 5 + 1) + (9 + 5 + 2 + 1 + 5 + 1)},
		{"tenant ${metadata.tenant}, $${", 5 + 7 + 2 + 2 + 2},
		{map[string]any{"a": "${payload.s}", "bc": []any{int64(1), "x"}}, 5 + (2 + 1 + 5 + 17) + (2 + 2 + 5 + 9 + 21 + 9 + 5 + 1)},
	}
	for _, r := range rows {
		for _, left := range []int{r.size, r.size - 1} {
			all := &room{left: left, wrong: tooDeep}
			refs := resolver{testScope(), &room{left: 1 << 20, wrong: tooMuch, within: all}, all}
			_, bad := refs.one().resolve("field", r.value)
			if (bad != nil) != (left < r.size) || bad != nil && bad.text != tooDeep {
				t.Errorf("%v with room for %d bytes, of %d: %v", r.value, left, r.size, bad)
			}
		}
	}
}

// TestWhatFollowsIsBounded has each bound found before the parent is sent, by what a few bytes can be made of.
func TestWhatFollowsIsBounded(t *testing.T) {
	const mib = 1 << 20
	refs := func(n int) string { return strings.Repeat("${metadata.a}", n) }
	list := func(n int, f func() map[string]any) []any {
		var l []any
		for range n {
			l = append(l, f())
		}
		return l
	}
	of := func(text any) func() map[string]any {
		return func() map[string]any { return fax("payload.text", text) }
	}
	update := func(field string, text any) map[string]any {
		return map[string]any{"collection": "orders", "id": "o", field: map[string]any{"text": text}}
	}
	rows := []struct {
		name   string
		fields map[string]any
		path   string // of the problem; empty: none
		text   string
	}{
		{"one of 3 MiB", map[string]any{"on_done": list(1, of(refs(3)))}, "", ""},
		{"one of 4 MiB and a little", map[string]any{"on_done": list(1, of(refs(4)))}, "on_done.0.payload.text", tooLarge},
		{"a text that names another 40 times", map[string]any{"on_dead": list(1, of(refs(40)))}, "on_dead.0.payload.text", tooLarge},
		{"four of 2 MiB less a little", map[string]any{"on_done": list(4, of("${metadata.b}${metadata.b}"))}, "", ""},
		{"two of 3 MiB after one another, and a third", map[string]any{"on_done": list(2, of(refs(3))), "on_dead": list(1, of(refs(3)))}, "on_dead.0.payload.text", tooMuch},
		{"sixteen of 1 MiB", map[string]any{"on_done": list(16, of("${metadata.a}"))}, "on_done.7.payload.text", tooMuch},
		{"an array of references alone", map[string]any{"on_done": list(1, of(copies("${metadata.a}", 5)))}, "on_done.0.payload.text.3", tooLarge},
		{"a large literal", map[string]any{"on_done": list(1, of(strings.Repeat("x", 5*mib)))}, "on_done.0.payload.text", tooLarge},
		{"a large literal further down", map[string]any{"on_done": list(1, func() map[string]any {
			return fax("on_done", list(1, of(strings.Repeat("x", 5*mib))))
		})}, "on_done.0.on_done", tooLarge},
		{"a nested one that grows", map[string]any{"on_done": list(1, func() map[string]any {
			return fax("payload.a", "${metadata.a}", "on_done", list(1, of(strings.Repeat("${payload.a}", 5))))
		})}, "on_done.0.on_done.0.payload.text", tooLarge},
		{"nested ones that grow together", map[string]any{"on_done": list(1, func() map[string]any {
			return fax("payload.a", "${metadata.a}", "on_dead", list(9, of("${payload.a}")))
		})}, "on_done.0.on_dead.7.payload.text", tooMuch},
		{"nested ones of many parents", map[string]any{"on_done": list(16, func() map[string]any {
			return fax("payload.a", "${metadata.c}", "on_dead", list(16, of("${payload.a}")))
		})}, "on_done.11.on_dead.3.payload.text", tooDeep},
		{"a write_back of 3 MiB", map[string]any{"write_back": update("done", refs(3))}, "", ""},
		{"a write_back of more than 4 MiB", map[string]any{"write_back": update("dead", refs(4))}, "write_back.dead.text", tooLarge},
		{"one for doubts", map[string]any{"write_back": update("ambiguous", refs(4))}, "write_back.ambiguous.text", tooLarge},
		{"follow-ups and write_back together", map[string]any{"on_done": list(2, of(refs(3))), "write_back": update("done", refs(3))}, "write_back.done.text", tooMuch},
	}
	for _, r := range rows {
		doc := document("fax", map[string]any{})
		doc["metadata"] = map[string]any{"a": strings.Repeat("x", mib), "b": strings.Repeat("x", mib-100), "c": strings.Repeat("x", mib/3)}
		maps.Copy(doc, r.fields)
		in := Parse(doc, testRules)
		var want []string
		if r.path != "" {
			want = []string{r.path + " " + r.text}
		}
		if got := problems(in); len(got) < len(want) || len(want) == 0 && len(got) > 0 || len(want) > 0 && got[0] != want[0] {
			t.Errorf("%s: got %.300q, want %q", r.name, got, want)
		}
	}
}

func copies(v any, n int) []any {
	l := make([]any, n)
	for i := range l {
		l[i] = v
	}
	return l
}
