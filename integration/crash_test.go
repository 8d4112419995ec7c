package integration

import (
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/providers/simulator"
)

// hasty is a configuration with a short lease. A call may take four seconds, so that a worker can be killed
// in the middle of it.
const hasty = `
lanes:
  charge: {rate: 10000/s, timeout: 4s, lease: 9s, retry: {base: 50ms, max: 500ms}, reconcile: {wait: 100ms, interval: 1s, absent_after: 2s, give_up: 20s}}
  email: {timeout: 4s, lease: 9s, retry: {base: 50ms, max: 500ms}, reconcile: {wait: 100ms, interval: 1s, absent_after: 2s, give_up: 20s}}
  sms: {timeout: 4s, lease: 9s, retry: {base: 50ms, max: 500ms}}
`

// A worker that is killed in the middle of its calls loses nothing and repeats nothing: the next one finds out.
func TestWorkerKilledInMidCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hasty)
	hang := func(provider, route, id, when string) simulator.Fault {
		match := simulator.Match{OutboxID: id}
		if provider == simulator.ProviderTwilio {
			match = simulator.Match{To: phone(id)}
		}
		return simulator.Fault{Provider: provider, Route: route, When: when, Do: simulator.DoHang, Match: match}
	}
	w.sim.fail(
		hang("stripe", "create", "charge-create-before", "before"),
		hang("stripe", "create", "charge-create-after", "after"),
		hang("stripe", "confirm", "charge-confirm-before", "before"),
		hang("stripe", "confirm", "charge-confirm-after", "after"),
		hang("sendgrid", "send", "email-before", "before"),
		hang("sendgrid", "send", "email-after", "after"),
		hang("twilio", "send", "sms-before", "before"),
		hang("twilio", "send", "sms-after", "after"),
	)
	w.insert(charge("charge-create-before"), charge("charge-create-after"), charge("charge-confirm-before"), charge("charge-confirm-after"),
		email("email-before"), email("email-after"), sms("sms-before"), sms("sms-after"))
	for i := range 10 {
		n := string(rune('0' + i))
		w.insert(charge("charge-"+n), email("email-"+n), sms("sms-"+n))
	}
	first := w.worker()
	w.sim.faultsMet()
	first.kill()
	hanging := bson.D{{Key: "status", Value: "leased"}, {Key: "_id", Value: bson.D{{Key: "$regex", Value: "before|after"}}}}
	if n := w.count(hanging); n != 8 {
		t.Fatalf("%d intents are in the hands of the dead worker, want 8", n)
	}

	w.drain()
	effects := w.sim.tally()
	for _, id := range []string{"charge-create-before", "charge-create-after", "charge-confirm-before", "charge-confirm-after", "email-before", "email-after"} {
		w.expect(effects, id, "done", 1)
	}
	w.expect(effects, "sms-before", "dead/ambiguous", 0)
	w.expect(effects, "sms-after", "dead/ambiguous", 1)
	// The others were done, or under way when the worker died: then they are as ambiguous as the ones that hung.
	for i := range 10 {
		n := string(rune('0' + i))
		w.expect(effects, "charge-"+n, "done", 1)
		w.expect(effects, "email-"+n, "done", 1)
		if in := w.get("sms-" + n); in.outcome() != "done" && in.outcome() != "dead/ambiguous" || effects.of("sms-"+n) > 1 {
			t.Errorf("sms-%s is %s with %d effects", n, in.outcome(), effects.of("sms-"+n))
		}
	}
	for _, id := range []string{"sms-before", "sms-after"} {
		if in := w.get(id); in.LastError.Code != "lease_expired" || strings.Contains(in.LastError.Message, "+49") {
			t.Errorf("%s: last error %+v", id, in.LastError)
		}
	}
	if n := w.count(bson.D{}); n != 38 {
		t.Errorf("%d intents exist, want 38", n)
	}
}
