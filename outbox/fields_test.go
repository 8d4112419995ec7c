package outbox

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

// ordered is a document of free form in an order that no sorting gives.
func ordered() Fields {
	return Fields{{"z", int64(1)}, {"a", Fields{{"y", "${metadata.tenant}"}, {"b", nil}}}, {"m", []any{Fields{{"2", true}, {"1", 1.5}}}}}
}

func template(data any) map[string]any {
	return map[string]any{"from": "a@b", "to": "a@b", "template_id": "d-1", "template_data": data}
}

func TestTemplateDataKeepsItsOrder(t *testing.T) {
	in := Parse(document(KindEmail, template(ordered())), testRules)
	if len(in.Problems) > 0 {
		t.Fatal(problems(in))
	}
	data, err := JSON(in.Payload.(*Email).TemplateData)
	if want := `{"z":1,"a":{"y":"${metadata.tenant}","b":null},"m":[{"2":true,"1":1.5}]}`; err != nil || string(data) != want {
		t.Errorf("%s, %v", data, err)
	}
}

// A follow-up's data keeps its order where references are replaced, and brings along that of what it refers to.
func TestReferencesKeepTheOrder(t *testing.T) {
	doc := document("fax", map[string]any{"order": ordered(), "list": []any{Fields{{"x", Fields{{"k", "v"}}}}}})
	doc["metadata"] = map[string]any{"tenant": "t1"}
	own := ordered()
	doc["on_done"] = []any{
		map[string]any{"kind": KindEmail, "payload": template(own)},
		map[string]any{"kind": KindEmail, "payload": template("${payload.order}")},
		map[string]any{"kind": "fax", "payload": map[string]any{"deep": "${payload.list.0.x.k} ${payload.order.z}"}},
	}
	in := Parse(doc, testRules)
	if len(in.Problems) > 0 {
		t.Fatal(problems(in))
	}
	ups, _ := in.Consequences(Decision{Status: StatusDone, Receipt: &Receipt{Provider: "p"}}, testRules)
	resolved := ordered()
	resolved[1].Value.(Fields)[0].Value = "t1"
	for i, want := range []any{resolved, ordered()} {
		payload := ups[i].Document["payload"].(map[string]any)
		if got := payload["template_data"]; len(ups[i].Problems) > 0 || !reflect.DeepEqual(got, want) {
			t.Errorf("follow-up %d: %v, %v", i, got, ups[i].Problems)
		}
	}
	if got := ups[2].Document["payload"].(map[string]any)["deep"]; got != "v 1" {
		t.Errorf("a reference into it: %v", got)
	}
	if !reflect.DeepEqual(own, ordered()) {
		t.Errorf("the intent's own document was changed: %v", own)
	}
}

func TestTemplateDataIsJSON(t *testing.T) {
	deep := func(levels int) any {
		var v any = "x"
		for n := range levels {
			switch {
			case n == levels-1 || n%3 == 0:
				v = Fields{{"x", v}}
			case n%3 == 1:
				v = []any{v}
			default:
				v = map[string]any{"x": v}
			}
		}
		return v
	}
	at := func(v any) any { return Fields{{"a", []any{Fields{{"b", v}}}}} }
	for i, good := range []any{deep(8), Fields{}, map[string]any{"a": []any{}}, at(nil), at(int64(math.MaxInt64)), at(math.Copysign(0, -1)), at(math.MaxFloat64), at(true),
		at(time.Now()), at(NewUUID([16]byte{1})), at(NewObjectID([12]byte{1})), at("")} {
		in := Parse(document(KindEmail, template(good)), testRules)
		if len(in.Problems) > 0 {
			t.Errorf("good %d: %q", i, problems(in))
			continue
		}
		if _, err := JSON(in.Payload.(*Email).TemplateData); err != nil {
			t.Errorf("good %d has no form in JSON: %v", i, err)
		}
	}
	for i, bad := range []any{deep(9), at(math.NaN()), at(math.Inf(1)), at(math.Inf(-1)), at(Unsupported{Type: "decimal"}), map[string]any{"a": math.NaN()},
		Unsupported{Type: "decimal"}, []any{}, "x", int64(1)} {
		in := Parse(document(KindEmail, template(bad)), testRules)
		if len(in.Problems) == 0 || !strings.HasPrefix(in.Problems[0].Path, "payload.template_data") {
			t.Errorf("bad %d: %q", i, problems(in))
		}
	}
}

func TestJSONOfDatesThatGoHasNoFormFor(t *testing.T) {
	far := time.UnixMilli(math.MaxInt64)
	data, err := JSON(map[string]any{"at": far, "list": []any{far}, "in": Fields{{"at", far}}})
	if err != nil || !strings.Contains(string(data), fmt.Sprint(far.UTC().Year())) {
		t.Errorf("%s, %v", data, err)
	}
}

// Presence and value are two things: the first day of the first year is a date.
func TestTheYearOneIsADate(t *testing.T) {
	var zero time.Time
	doc := document(KindSMS, smsPayload())
	for _, field := range []string{"due_at", "expires_at", "first_attempt_at", "ambiguous_at", "first_due_at"} {
		doc[field] = zero
	}
	doc["lease"] = map[string]any{"token": "t", "at": zero}
	doc["retried"] = map[string]any{"at": zero}
	doc["history"] = []any{map[string]any{"attempt": int64(1), "at": zero}}
	in := Parse(doc, testRules)
	if len(in.Problems) > 0 {
		t.Fatal(problems(in))
	}
	for field, at := range map[string]time.Time{"due_at": in.DueAt, "expires_at": in.ExpiresAt, "first_attempt_at": in.FirstAttemptAt, "ambiguous_at": in.AmbiguousAt,
		"first_due_at": in.FirstDueAt, "lease.at": in.Lease.At, "retried.at": in.RetriedAt, "history.at": in.History[0].At} {
		if at.IsZero() || !at.Truncate(time.Millisecond).IsZero() {
			t.Errorf("%s is %v", field, at)
		}
	}
	if !in.Expired(testNow) {
		t.Error("what expired in the year one can still be sent")
	}
}

func TestAmountsByCurrency(t *testing.T) {
	for currency, want := range map[string]struct{ good, bad []int64 }{
		"eur": {[]int64{50, 99_999_999}, []int64{49, 100_000_000}},
		"gbp": {[]int64{30}, []int64{29}},
		"idr": {[]int64{50, 150_000_000, 999_999_999_999}, []int64{49, 1_000_000_000_000}},
		"inr": {[]int64{999_999_999}, []int64{1_000_000_000}},
		"cop": {[]int64{9_999_999_999}, []int64{10_000_000_000}},
		"jpy": {[]int64{50, 9_999_999_999}, []int64{49, 10_000_000_000}},
		"huf": {[]int64{17_500, 17_501, 9_999_999_999}, []int64{17_499, 10_000_000_000}},
		"lbp": {[]int64{1, 99_999_999_999}, []int64{100_000_000_000}},
		"krw": {[]int64{50, 99_999_999}, []int64{49, 100_000_000}},
		"kwd": {[]int64{10, 5120}, []int64{5, 5124, 5125}},
		"bhd": {[]int64{1000}, []int64{1001}},
		"isk": {[]int64{500}, []int64{501, 550}},
		"ugx": {[]int64{100}, []int64{10, 99}},
		"twd": {[]int64{80_045}, []int64{0}},
		"vnd": {[]int64{1}, []int64{100_000_000}},
		"xxx": {[]int64{1, 99_999_999}, []int64{100_000_000}},
	} {
		check := func(n int64, ok bool) {
			payload := chargePayload()
			payload["currency"], payload["amount"] = currency, n
			if in := Parse(document(KindCharge, payload), testRules); (len(in.Problems) == 0) != ok {
				t.Errorf("%d %s: %q", n, currency, problems(in))
			}
		}
		for _, n := range want.good {
			check(n, true)
		}
		for _, n := range want.bad {
			check(n, false)
		}
	}
}
