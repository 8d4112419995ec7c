package outbox

import "testing"

func BenchmarkDecide(b *testing.B) {
	p := testPolicy(Reconcile, false)
	in := claimed{attempts: 2, history: []Record{{Attempt: 1}}}.intent()
	for name, v := range map[string]Verdict{
		"delivered": {Event: Delivered, Receipt: Receipt{ID: "SM1"}},
		"transient": {Event: Failed, Failure: &Failure{Class: Transient, Code: CodeNotSent}},
		"ambiguous": {Event: Failed, Failure: &Failure{Class: Ambiguous, Code: CodeNoAnswer}},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Decide(in, v, p, testNow)
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	withFollowUps := document(KindCharge, chargePayload())
	withFollowUps["on_done"] = []any{map[string]any{"kind": "sms", "payload": edit(smsPayload(), "body", "${payload.amount} cents paid")}}
	withFollowUps["write_back"] = map[string]any{"collection": "orders", "id": "o1", "done": map[string]any{"state": "paid"}}
	for name, doc := range map[string]map[string]any{
		"charge": document(KindCharge, chargePayload()), "email": document(KindEmail, emailPayload()), "sms": document(KindSMS, smsPayload()),
		"charge with follow-up and write_back": withFollowUps,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if in := Parse(doc, testRules); len(in.Problems) > 0 {
					b.Fatal(in.Problems)
				}
			}
		})
	}
}

func BenchmarkConsequences(b *testing.B) {
	doc := document(KindCharge, chargePayload())
	doc["on_done"] = []any{map[string]any{"kind": "sms", "payload": edit(smsPayload(), "body", "${payload.amount} cents paid, ${result.id}")}}
	in := Parse(doc, testRules)
	b.ReportAllocs()
	for b.Loop() {
		in.Consequences(done("pi_1"), testRules)
	}
}
