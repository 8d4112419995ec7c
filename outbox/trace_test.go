package outbox

import "testing"

func TestTrace(t *testing.T) {
	t.Parallel()
	const id, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	for parent, valid := range map[string]bool{
		"00-" + id + "-" + span + "-01": true, "": false, "00-" + id: false, "00-" + id + "-" + span[1:] + "-01": false,
		"00-00000000000000000000000000000000-" + span + "-01": false, "00-" + id + "-0000000000000000-01": false, "00-A" + id[1:] + "-" + span + "-01": false,
	} {
		trace := Trace{Parent: parent}
		if (trace.ID() == id) != valid || (trace.SpanID() == span) != valid {
			t.Errorf("%q: trace %q, span %q, valid should be %v", parent, trace.ID(), trace.SpanID(), valid)
		}
	}
}

// A follow-up continues the attempt's span, without one its parent's trace, and its own before both.
func TestFollowUpTrace(t *testing.T) {
	t.Parallel()
	own := map[string]any{"traceparent": "own"}
	follow := func(d Decision, child map[string]any) any {
		in := &Intent{ID: NewStringID("a"), Kind: KindSMS, Trace: Trace{Parent: "parent"}, OnDead: []map[string]any{child}}
		d.Status, d.Reason = StatusDead, ReasonPermanent
		ups, _ := in.Consequences(d, Rules{})
		doc, _ := ups[0].Document["trace"].(map[string]any)
		return doc["traceparent"]
	}
	for want, got := range map[string]any{
		"parent": follow(Decision{}, map[string]any{"kind": KindSMS}),
		"span":   follow(Decision{Trace: Trace{Parent: "span"}}, map[string]any{"kind": KindSMS}),
		"own":    follow(Decision{Trace: Trace{Parent: "span"}}, map[string]any{"kind": KindSMS, "trace": own}),
	} {
		if got != want {
			t.Errorf("the follow-up continues %v, want %s", got, want)
		}
	}
}
