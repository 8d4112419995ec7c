package outbox

import (
	"reflect"
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

func TestReferencesStayWithinABound(t *testing.T) {
	rows := []struct {
		text string
		cost int
	}{
		{"no reference", 0},
		{"${payload.n}", 8},
		{"${metadata.tenant}", 8 + 2},
		{"${payload.doc}", 8 + 1 + 8},
		{"${payload.list}", 8 + (8 + 1) + (8 + 1 + 8 + 1)},
		{"tenant ${metadata.tenant}, $${", 7 + 2 + 2 + 2},
	}
	for _, r := range rows {
		for _, left := range []int{r.cost, r.cost - 1} {
			if left < 0 {
				continue
			}
			_, bad := resolver{testScope(), new(left)}.resolve("field", r.text)
			if (bad != nil) != (left < r.cost) || bad != nil && bad.text != tooLarge {
				t.Errorf("%q with %d bytes left: %v", r.text, left, bad)
			}
		}
	}
}
