package plan_test

import (
	"slices"
	"testing"
	"time"

	"github.com/outboxd/outboxd/integration/chaos/plan"
)

var options = plan.Options{
	Length: 5 * time.Minute, Slots: 3, Nodes: true, Lease: 6 * time.Second, Longest: 12 * time.Second,
	Latency: time.Second, DBLate: 3 * time.Second, Election: 2 * time.Second,
}

func TestSeedDecides(t *testing.T) {
	if !slices.Equal(plan.New(7, options), plan.New(7, options)) {
		t.Error("one seed gave two schedules")
	}
	if slices.Equal(plan.New(7, options), plan.New(8, options)) {
		t.Error("two seeds gave one schedule")
	}
}

func TestScheduleFits(t *testing.T) {
	for seed := range uint64(50) {
		ends := make(map[string]time.Duration)
		seen := make(map[string]bool)
		var last time.Duration
		for _, e := range plan.New(seed, options) {
			if e.At < last || e.At < ends[e.Track] || e.For <= 0 || e.At+e.For > options.Length || e.Slot < 0 || e.Slot >= options.Slots {
				t.Fatalf("seed %d: %+v after %v, while the track is busy until %v", seed, e, last, ends[e.Track])
			}
			last, ends[e.Track] = e.At, e.At+e.For
			seen[e.What] = true
		}
		for _, what := range []string{
			plan.Kill, plan.Term, plan.Freeze, plan.StepDown, plan.KillPrimary, plan.KillSecondary, plan.KillTwo, plan.PausePrimary, plan.Rollback,
			plan.Cut, plan.Slow, plan.Reset, plan.HalfOpen, plan.Before, plan.After, plan.Storm, plan.Hang, plan.Replays, plan.Refuse,
			plan.HoldTargets, plan.HoldIntents, plan.Modify, plan.Index, plan.Behind, plan.Unlock, plan.Cancel,
		} {
			if !seen[what] {
				t.Errorf("seed %d has no %s in five minutes", seed, what)
			}
		}
	}
}

// A cluster that is not ours is left alone.
func TestForeignNodesAreLeftAlone(t *testing.T) {
	o := options
	o.Nodes = false
	for _, e := range plan.New(1, o) {
		if e.Track == plan.Nodes || e.Track == plan.Network && e.Where != plan.ToProvider {
			t.Errorf("%+v", e)
		}
	}
}
