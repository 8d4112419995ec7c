package worker

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/outboxd/outboxd/dispatcher"
	"github.com/outboxd/outboxd/internal/timing"
	"github.com/outboxd/outboxd/store"
)

const (
	emptyEvery = 100 * time.Millisecond // how often it is looked whether anything is left
	emptyShare = 10                     // a look that took long is repeated after so many times that
	// emptySlack is how long a lane that was gated or broken is waited for after it opened: what was sent away by the
	// gate is due a moment later.
	emptySlack = 2 * time.Second
)

// Remainder is what is left of one kind when a worker ends with --until-empty.
type Remainder struct {
	store.Remaining
	State string // of the lane; see the states of package dispatcher
	Why   string
}

// String says it in a line.
func (r Remainder) String() string {
	var parts []string
	for _, p := range []struct {
		n    int64
		what string
	}{{r.Due, "due"}, {r.Leased, "leased"}, {r.Soon + r.Later, "due later"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	text := fmt.Sprintf("%s: %s", r.Kind, strings.Join(parts, ", "))
	if r.State == dispatcher.StatePaused || r.State == dispatcher.StateHeld {
		text += "; the lane is " + r.State
		if r.Why != "" {
			text += " (" + r.Why + ")"
		}
	}
	return text
}

// awaitEmpty stops the worker once nothing of its kinds is due, leased by anyone, or due soon. Lanes that are paused
// or held are not waited for; gates and breakers are, and the first sweep, which may find something to settle.
func (w *worker) awaitEmpty(db *store.Store, d *dispatcher.Dispatcher, swept <-chan struct{}) {
	<-swept
	opens := make(map[string]time.Time) // when a lane that was shut is surely open again
	for wait := emptyEvery; ; {
		if timing.Sleep(w.stop, wait) != nil {
			return
		}
		began := time.Now()
		empty, err := w.empty(db, d, opens)
		if err != nil {
			w.Logger.Warn("looking for what is left failed; trying again", "err", err)
		}
		if empty {
			w.stopNow(errEmpty)
			return
		}
		wait = max(emptyEvery, emptyShare*time.Since(began))
	}
}

// empty reports whether there is nothing left to wait for, in any lane at one instant: what ends in one lane may have
// follow-ups in another. While a lane is busy the database is not asked: counting what
// waits costs more, the more there is.
func (w *worker) empty(db *store.Store, d *dispatcher.Dispatcher, opens map[string]time.Time) (bool, error) {
	ctx, cancel := context.WithTimeout(w.stop, readyTimeout+emptySlack)
	defer cancel()
	now := time.Now()
	lanes := d.Status()
	if slices.ContainsFunc(lanes, func(l dispatcher.LaneStatus) bool { return l.InFlight > 0 }) {
		return false, nil
	}
	var kinds []string
	within := make(map[string]time.Duration)
	for _, l := range lanes {
		if l.State == dispatcher.StatePaused || l.State == dispatcher.StateHeld {
			continue
		}
		if !l.Until.IsZero() {
			opens[l.Kind] = l.Until.Add(emptySlack)
		}
		kinds = append(kinds, l.Kind)
		within[l.Kind] = max(w.Config.Within, opens[l.Kind].Sub(now))
	}
	left, err := db.Remaining(ctx, kinds, within)
	if err != nil {
		return false, err
	}
	return !slices.ContainsFunc(left, func(r store.Remaining) bool { return !r.Empty() }), nil
}

// remains tells what is left of the kinds that were served.
func (w *worker) remains(db *store.Store, d *dispatcher.Dispatcher) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.stop), readyTimeout+emptySlack)
	defer cancel()
	left, err := db.Remaining(ctx, kinds(w.Config.Lanes), nil)
	if err != nil {
		return fmt.Errorf("say what remains: %w", err)
	}
	lanes := d.Status()
	var some []Remainder
	for i, r := range left {
		if r.Due+r.Leased+r.Soon+r.Later > 0 {
			some = append(some, Remainder{Remaining: r, State: lanes[i].State, Why: lanes[i].Why})
		}
	}
	return w.Remains(some)
}
