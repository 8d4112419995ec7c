package stripe

import (
	"testing"
	"time"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers/simulator"
)

// TestAConfirmationsKeyIsFreshAfterTwentyThreeHours tells the window in hours of its own: Stripe may forget a key after
// 24 (Stripe API reference, "Idempotent requests"), so one that is older than 23 must not be relied on.
func TestAConfirmationsKeyIsFreshAfterTwentyThreeHours(t *testing.T) {
	confirmedUnder := func(age time.Duration, faults ...simulator.Fault) string {
		t.Helper()
		sim, r := simulate(t, faults...)
		in := newIntent(nil)
		if len(faults) > 0 {
			if _, f := r.deliver(t, in); f == nil || f.Class != outbox.Ambiguous {
				t.Fatalf("%v", f)
			}
			in.Lease.At = in.Lease.At.Add(age)
		}
		if receipt, f := r.deliver(t, in); f != nil || receipt.Status != "succeeded" {
			t.Fatalf("after %v: %+v, %v", age, receipt, f)
		}
		simulation.WantEffects(t, sim, 1)
		return sim.Effects()[0].Key
	}
	first := confirmedUnder(0)
	for age, same := range map[time.Duration]bool{
		time.Minute: true, 22*time.Hour + 59*time.Minute: true, 23 * time.Hour: false, 23*time.Hour + 59*time.Minute: false, 24*time.Hour + time.Minute: false, 47 * time.Hour: false,
	} {
		if key := confirmedUnder(age, simulator.Fault{Route: "confirm", Do: simulator.DoDrop}); (key == first) != same {
			t.Errorf("%v after the first try it was confirmed under %q, and the first key is %q", age, key, first)
		}
	}
}
