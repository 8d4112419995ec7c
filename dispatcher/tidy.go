package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/outboxd/outboxd/internal/timing"
	"github.com/outboxd/outboxd/outbox"
)

const (
	tidyEvery  = 5 * time.Second // with jitter: for what expired, and for what another worker recorded
	tidySpace  = 20 * time.Millisecond
	tidyBatch  = 100
	tidyLease  = 30 * time.Second
	tidyMaxDue = time.Hour
)

// tidier settles intents that need no call, of every kind: what expired, and recorded outcomes whose consequences could
// not be written before. It asks nobody's leave, so it does so also where the lane is paused, held, gated or served by
// nobody.
type tidier struct {
	settler *settler
	changed timing.Signal // next has changed

	mu   sync.Mutex
	next time.Time // when something is due that this worker recorded; zero: nothing is known to be
}

func newTidier(cfg Config) *tidier {
	t := &tidier{changed: timing.NewSignal()}
	t.settler = newSettler(cfg, t.plan)
	return t
}

// plan notes that an outcome is due in a while. It never blocks.
func (t *tidier) plan(in time.Duration) {
	at := time.Now().Add(min(in, tidyMaxDue))
	t.mu.Lock()
	sooner := t.next.IsZero() || at.Before(t.next)
	if sooner {
		t.next = at
	}
	t.mu.Unlock()
	if sooner {
		t.changed.Send()
	}
}

// due takes the instant that was planned and returns how long it is until then, at most the given time.
func (t *tidier) due(most time.Duration) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.next.IsZero() {
		return most
	}
	return min(most, max(0, time.Until(t.next)))
}

// done forgets what was planned until now: whoever claims finds all of it.
func (t *tidier) done() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.next.After(time.Now()) {
		t.next = time.Time{}
	}
}

// tidy runs the tidier until stop ends.
func (d *Dispatcher) tidy(stop context.Context) {
	t := d.tidier
	for {
		look := time.Now().Add(timing.Jitter(tidyEvery))
		for wait := t.due(time.Until(look)); wait > 0; wait = t.due(time.Until(look)) {
			timer := time.NewTimer(max(wait, tidySpace))
			select {
			case <-stop.Done():
				timer.Stop()
				return
			case <-t.changed:
			case <-timer.C:
			}
			timer.Stop()
		}
		if stop.Err() != nil {
			return
		}
		t.done()
		for stop.Err() == nil {
			n, err := d.tidySome(stop)
			if err != nil {
				d.cfg.Logger.Warn("looking for what needs no call failed", "err", err)
			}
			if n < tidyBatch {
				break
			}
		}
	}
}

func (d *Dispatcher) tidySome(stop context.Context) (int, error) {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(stop), claimTimeout, fmt.Errorf("claiming took longer than %v", claimTimeout))
	defer cancel()
	intents, err := d.cfg.Store.ClaimToSettle(ctx, outbox.ClaimOrder{Limit: tidyBatch, Lease: tidyLease, Owner: d.cfg.Worker, Doubts: d.doubts()})
	if err != nil {
		return 0, err
	}
	for _, in := range intents {
		policy, now := d.policy(in.Kind), d.cfg.Store.Now()
		action, verdict := outbox.Next(in, policy, now)
		if action != outbox.Settle { // our clock is behind the database's, or a lane must ask the provider first
			verdict = outbox.Verdict{Event: outbox.Unsent, Failure: notYet()}
		}
		d.tidier.settler.settle(outcome{
			Settlement: outbox.Settlement{Intent: in, Decision: outbox.Decide(in, verdict, policy, now)},
			kind:       in.Kind,
		})
	}
	return len(intents), nil
}

// notYet is why an intent is given back that was claimed to be settled: so it is not claimed again at once.
func notYet() *outbox.Failure {
	return &outbox.Failure{Class: outbox.Transient, Code: outbox.CodeNotSent, Message: "it was claimed too early", Cause: errors.New("not yet")}
}

// policy returns a kind's policy; that of a kind which this worker does not serve has no rule that is needed here.
func (d *Dispatcher) policy(kind string) outbox.Policy {
	for _, l := range d.lanes {
		if l.Kind == kind {
			return l.Policy
		}
	}
	return outbox.Policy{}
}

// doubts returns what becomes of an ambiguous outcome of each kind that this worker serves, but for those whose
// deliveries ask first.
func (d *Dispatcher) doubts() map[string]outbox.Ambiguity {
	doubts := make(map[string]outbox.Ambiguity)
	for _, l := range d.lanes {
		if !l.Policy.AsksFirst {
			doubts[l.Kind] = l.Policy.OnAmbiguous
		}
	}
	return doubts
}
