package dispatcher_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/outboxd/outboxd/dispatcher"
	"github.com/outboxd/outboxd/outbox"
)

// stepwise is a provider that saves progress before the step that counts.
type stepwise struct {
	provider
	first time.Duration // how long the step before takes
}

func (s *stepwise) Deliver(ctx context.Context, in *outbox.Intent, save func(context.Context, outbox.Progress) error) (outbox.Receipt, error) {
	<-time.After(s.first)
	if err := save(ctx, outbox.Progress{"step": int64(1)}); err != nil {
		return outbox.Receipt{}, err
	}
	return s.provider.Deliver(ctx, in, save)
}

func TestAnIntentThatExpiresBetweenStepsIsNotSent(t *testing.T) {
	for name, tt := range map[string]struct {
		first  time.Duration
		status string
		calls  int
	}{
		"before":  {time.Second, "dead", 0},
		"in time": {100 * time.Millisecond, "done", 1},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				box, p := newBox(), &stepwise{first: tt.first}
				id := box.insert(t, "sms", map[string]any{"expires_at": time.Now().Add(500 * time.Millisecond)})
				r := start(t, dispatcher.Config{Store: box, Lanes: []dispatcher.Lane{laneOf("sms", p)}})
				<-time.After(5 * time.Second)
				r.end(t)
				if doc := box.get(t, id); doc["status"] != tt.status || len(p.made()) != tt.calls {
					t.Errorf("%d calls, want %d: %v", len(p.made()), tt.calls, doc)
				}
			})
		})
	}
}

// away is a store that cannot be reached when progress is to be stored.
type away struct {
	dispatcher.Store
	until time.Time
}

func (a away) SaveProgress(ctx context.Context, in *outbox.Intent, p outbox.Progress) error {
	if time.Now().Before(a.until) {
		return fmt.Errorf("save the progress of intent %s: %w", in.ID, outbox.ErrUnreached)
	}
	return a.Store.SaveProgress(ctx, in, p)
}

// careful is a provider that says, as it must, that it did not go on where progress could not be stored.
type careful struct{ provider }

func (c *careful) Deliver(ctx context.Context, in *outbox.Intent, save func(context.Context, outbox.Progress) error) (outbox.Receipt, error) {
	if err := save(ctx, outbox.Progress{"step": int64(1)}); err != nil {
		return outbox.Receipt{}, &outbox.Failure{Class: outbox.Transient, Code: outbox.CodeProgressNotSaved, Cause: err}
	}
	return c.provider.Deliver(ctx, in, save)
}

// A failover between two steps is no fault of the intent, and costs it no attempt.
func TestADatabaseThatIsAwayBetweenStepsCostsNoAttempt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box, p := newBox(), &careful{}
		id := box.insert(t, "sms", map[string]any{"max_attempts": int64(1)})
		r := start(t, dispatcher.Config{Store: away{box, time.Now().Add(5 * time.Second)}, Lanes: []dispatcher.Lane{laneOf("sms", p)}})
		<-time.After(30 * time.Second)
		r.end(t)
		if doc := box.get(t, id); doc["status"] != "done" || doc["attempts"] != int64(1) || len(p.made()) != 1 {
			t.Errorf("%d calls, want 1: %v", len(p.made()), doc)
		}
		if n := box.claims.Load(); n > 60 {
			t.Errorf("%d claims in half a minute", n)
		}
	})
}

// A half-open breaker counts a probe that succeeded until its last probe has ended.
func TestAHalfOpenLaneWaitsForItsLastProbe(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box := newBox()
		p := &provider{deliver: func(ctx context.Context, in *outbox.Intent, n int) error {
			switch {
			case n <= 5:
				return &outbox.Failure{Class: outbox.Transient, Code: outbox.CodeNotSent}
			case n == 6:
				return takes(100*time.Millisecond)(ctx, in, n)
			default:
				return takes(8*time.Second)(ctx, in, n)
			}
		}}
		for range 5 {
			box.insert(t, "sms", nil)
		}
		r := start(t, dispatcher.Config{Store: box, Lanes: []dispatcher.Lane{laneOf("sms", p)}})
		<-time.After(31 * time.Second) // the breaker opened at once, and has let two probes through since
		before := box.claims.Load()
		<-time.After(5 * time.Second)
		if n := box.claims.Load() - before; n > 10 {
			t.Errorf("%d claims in five seconds in which the breaker lets nothing through", n)
		}
		<-time.After(time.Minute)
		r.end(t)
		box.want(t, "done", 5)
	})
}

// A provider that answers slowly shows what its records held when it was asked.
func TestAnAbsenceIsAsOldAsItsQuestion(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box := newBox()
		var acted time.Time
		p := &provider{
			deliver: func(_ context.Context, _ *outbox.Intent, n int) error {
				acted = time.Now()
				return &outbox.Failure{Class: outbox.Ambiguous, Code: outbox.CodeNoAnswer}
			},
			lookUp: func(context.Context, *outbox.Intent) (bool, error) {
				shows := time.Since(acted) >= 119*time.Second // sooner than absent_after
				<-time.After(8 * time.Second)
				return shows, nil
			},
		}
		lane := laneOf("sms", p)
		lane.Policy.OnAmbiguous = outbox.Reconcile
		lane.Policy.Reconcile.Wait = 118 * time.Second
		box.insert(t, "sms", nil)
		r := start(t, dispatcher.Config{Store: box, Lanes: []dispatcher.Lane{lane}})
		<-time.After(5 * time.Minute)
		r.end(t)
		box.want(t, "done", 1)
		if n := len(p.made()); n != 1 {
			t.Errorf("%d calls, want 1: the first one had its effect", n)
		}
	})
}
