package dispatcher_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outboxd/outboxd/dispatcher"
	"github.com/outboxd/outboxd/outbox"
)

// charges is the policy of charges as it is shipped.
var charges = outbox.Policy{
	Retry:       outbox.RetryPolicy{MaxAttempts: 12, Base: 2 * time.Second, Max: 15 * time.Minute},
	OnAmbiguous: outbox.Retry, AsksFirst: true,
	Reconcile: outbox.ReconcilePolicy{Wait: 30 * time.Second, Interval: 30 * time.Second, AbsentAfter: 2 * time.Minute, GiveUp: 15 * time.Minute},
}

// unanswered are the ways in which a provider is away.
var unanswered = map[string]outbox.Failure{
	"not reached":   {Class: outbox.Transient, Code: outbox.CodeNotSent},
	"503":           {Class: outbox.Ambiguous, Code: outbox.CodeUnavailable, HTTPStatus: 503},
	"503 of a read": {Class: outbox.Transient, Code: outbox.CodeUnavailable, HTTPStatus: 503},
	"500":           {Class: outbox.Ambiguous, Code: outbox.CodeServerError, HTTPStatus: 500},
	"timeouts":      {Class: outbox.Ambiguous, Code: outbox.CodeNoAnswer},
}

// However quiet the lane is, a provider that is away costs no intent more than the attempt under way, and kills none.
// When it is back, everything is sent soon.
func TestAProviderThatIsAwayCostsNothing(t *testing.T) {
	for name, f := range unanswered {
		for _, many := range []int{1, 3, 50} {
			for _, quiet := range []time.Duration{0, 5 * time.Minute} { // between intents
				if quiet > 0 && many != 3 {
					continue
				}
				t.Run(fmt.Sprintf("%s, %d, one each %v", name, many, quiet), func(t *testing.T) {
					bubble(t, func(t *testing.T) {
						box := newBox()
						var back atomic.Bool
						p := &provider{deliver: func(context.Context, *outbox.Intent, int) error {
							<-time.After(50 * time.Millisecond)
							if back.Load() {
								return nil
							}
							failure := f
							return &failure
						}}
						p.lookUp = func(context.Context, *outbox.Intent) (bool, error) {
							return false, &outbox.Failure{Class: outbox.Transient, Code: outbox.CodeNotSent}
						}
						l := laneOf("sms", p)
						l.Policy = charges
						r := start(t, dispatcher.Config{Store: box, Lanes: []dispatcher.Lane{l}, Logger: discard})
						for range many {
							box.insert(t, "sms", nil)
							<-time.After(quiet)
						}
						<-time.After(time.Minute)
						p.mu.Lock()
						p.most = 0
						p.mu.Unlock()
						before := len(p.made())
						day := 24 * time.Hour
						if many > 1 || f.Code != outbox.CodeNotSent && f.Code != outbox.CodeUnavailable {
							day /= 12
						}
						<-time.After(day)
						if s := r.Status()[0]; s.State != dispatcher.StateBroken || s.Until.IsZero() {
							t.Errorf("after so long without an answer the lane is %+v, want broken", s)
						}
						if n := len(p.made()) - before; n > int(day/time.Minute)*2+100 {
							t.Errorf("%d calls in %v, want at most one in half a minute", n, day)
						}
						if n := p.peak(); n > 1 {
							t.Errorf("%d calls at once", n)
						}
						box.want(t, "pending", many)
						most := min(many, 8) // the wave that met it first
						if f.Code == outbox.CodeNotSent {
							most = 0
						}
						if n := box.sum("sms", "attempts"); int(n) > most {
							t.Errorf("%d attempts after so long, want at most %d", n, most)
						}
						calls := len(p.made())
						back.Store(true)
						<-time.After(2*time.Minute + 30*time.Second)
						box.want(t, "done", many)
						if n := len(p.made()) - calls; n != many {
							t.Errorf("%d calls for %d intents", n, many)
						}
						r.end(t)
					})
				})
			}
		}
	}
}

// retry.give_up ends what could not be attempted at all.
func TestGiveUpBoundsAnOutage(t *testing.T) {
	for name, f := range map[string]outbox.Failure{
		"not reached": {Class: outbox.Transient, Code: outbox.CodeNotSent},
		"refused":     {Class: outbox.Hold, Code: outbox.CodeUnauthorized},
		"limited":     {Class: outbox.RateLimited, Code: outbox.CodeRateLimited},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				box := newBox()
				p := &provider{deliver: func(context.Context, *outbox.Intent, int) error {
					<-time.After(50 * time.Millisecond)
					failure := f
					return &failure
				}}
				long := time.Now().Add(-71 * time.Hour)
				old := box.insert(t, "sms", map[string]any{"due_at": long, "first_due_at": long, "first_attempt_at": long})
				fresh := box.insert(t, "sms", nil)
				r := start(t, dispatcher.Config{Store: box, Lanes: []dispatcher.Lane{laneOf("sms", p)}, Logger: discard})
				wait := func(d time.Duration) {
					for range d / time.Second {
						<-time.After(time.Second)
						if box.get(t, old)["status"] == "pending" { // whether or not the store keeps it
							box.mem.Change(old, map[string]any{"first_attempt_at": long})
						}
					}
				}
				wait(55 * time.Minute)
				box.want(t, "pending", 2)
				wait(30 * time.Minute) // a held lane takes any of the two each minute
				last, _ := box.get(t, old)["last_error"].(map[string]any)
				if doc := box.get(t, old); doc["dead_reason"] != "exhausted" || last["code"] != f.Code || doc["attempts"] != int64(0) {
					t.Errorf("after 72h: %v", doc)
				}
				if doc := box.get(t, fresh); doc["status"] != "pending" {
					t.Errorf("an hour after it was due: %v", doc)
				}
				r.end(t)
			})
		})
	}
}

// An intent that alone meets server errors, while others pass, spends its attempts, and delays nobody for long.
func TestAPoisonThatMeetsServerErrorsSpendsItsAttempts(t *testing.T) {
	for _, poisons := range []int{1, 5, 20} {
		for _, priority := range []int64{0, 1} {
			if raceEnabled && (poisons != 5 || priority == 0) {
				continue
			}
			t.Run(fmt.Sprintf("%d of priority %d", poisons, priority), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					box := newBox()
					p := &provider{deliver: func(_ context.Context, in *outbox.Intent, _ int) error {
						<-time.After(50 * time.Millisecond)
						if isPoison(in) {
							return &outbox.Failure{Class: outbox.Transient, Code: outbox.CodeServerError, HTTPStatus: 500}
						}
						return nil
					}}
					for range poisons {
						box.insert(t, "sms", map[string]any{"max_attempts": poisonous, "priority": priority})
					}
					r := start(t, dispatcher.Config{Store: box, Lanes: []dispatcher.Lane{laneOf("sms", p)}, Logger: discard})
					born := traffic(t, box, 20*time.Minute)
					r.end(t)
					list := waited(born, p.made()...)
					if n := len(list); n < len(born)-2 || list[n*9/10] > 1500*time.Millisecond || list[n-1] > 2*time.Minute { // the first failures of all open the breaker
						t.Errorf("%d of %d sent; 90%% after %v, the last one after %v", n, len(born), list[n*9/10], list[n-1])
					}
					for _, doc := range box.mem.All() {
						if doc["max_attempts"] == poisonous && (doc["dead_reason"] != "exhausted" || doc["attempts"] != poisonous) {
							t.Errorf("a poison in the end: %v", doc)
						}
					}
				})
			})
		}
	}
}

// Workers that are restarted during an outage, or take turns, spend no attempts on it one after another.
func TestAnOutageOutlastsWorkers(t *testing.T) {
	for _, workers := range []int{1, 4} {
		bubble(t, func(t *testing.T) {
			box, shared := newBox(), &commons{}
			p := &provider{deliver: func(context.Context, *outbox.Intent, int) error {
				return &outbox.Failure{Class: outbox.Ambiguous, Code: outbox.CodeUnavailable, HTTPStatus: 503}
			}}
			id := box.insert(t, "sms", nil)
			for range 20 {
				var all []*running
				for i := range workers {
					l := laneOf("sms", p)
					l.Policy = charges
					all = append(all, start(t, dispatcher.Config{Worker: fmt.Sprint("w", i), Store: box, Shared: shared, Lanes: []dispatcher.Lane{l}, Logger: discard}))
				}
				<-time.After(10 * time.Minute)
				for _, r := range all {
					r.end(t)
				}
			}
			if doc := box.get(t, id); doc["status"] != "pending" || doc["attempts"] != int64(1) {
				t.Errorf("%d workers, restarted 20 times: %v", workers, doc)
			}
		})
	}
}

// Under park an ambiguous outcome ends at once, whoever answers others.
func TestAParkedIntentIsNoProbe(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box := newBox()
		p := &provider{deliver: fails(outbox.Ambiguous, outbox.CodeNoAnswer)}
		r := start(t, dispatcher.Config{Store: box, Lanes: []dispatcher.Lane{laneOf("sms", p)}, Logger: discard})
		for range 4 {
			box.insert(t, "sms", nil)
			<-time.After(time.Minute)
		}
		r.end(t)
		for _, doc := range box.mem.All() {
			if doc["dead_reason"] != "ambiguous" || doc["attempts"] != int64(1) {
				t.Errorf("%v", doc)
			}
		}
	})
}

// Look-ups neither stop the sending nor are stopped by what stops it, and end with reconcile.give_up whatever they
// meet.
func TestLookUpsStopNobody(t *testing.T) {
	for name, f := range map[string]outbox.Failure{
		"refused":             {Class: outbox.Hold, Code: outbox.CodeUnauthorized, HTTPStatus: 401},
		"forbidden":           {Class: outbox.Hold, Code: outbox.CodeForbidden, HTTPStatus: 403},
		"a wrong path":        {Class: outbox.Hold, Code: outbox.CodeNotTheProvider, HTTPStatus: 404},
		"limited":             {Class: outbox.RateLimited, Code: outbox.CodeRateLimited, HTTPStatus: 429, RetryAfter: 2 * time.Minute},
		"limited, no instant": {Class: outbox.RateLimited, Code: outbox.CodeRateLimited, HTTPStatus: 429},
		"unanswered":          {Class: outbox.Transient, Code: outbox.CodeUnavailable, HTTPStatus: 503},
	} {
		if raceEnabled && name != "limited" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				box := newBox()
				var asked atomic.Int64
				p := &provider{
					deliver: func(_ context.Context, in *outbox.Intent, _ int) error {
						<-time.After(50 * time.Millisecond)
						if isPoison(in) {
							return &outbox.Failure{Class: outbox.Ambiguous, Code: outbox.CodeUnclassified}
						}
						return nil
					},
					lookUp: func(context.Context, *outbox.Intent) (bool, error) {
						asked.Add(1)
						<-time.After(100 * time.Millisecond)
						failure := f
						return false, &failure
					},
				}
				l := laneOf("sms", p)
				l.Policy.OnAmbiguous = outbox.Reconcile
				l.Breaker.Consecutive, l.Breaker.MinRequests = 30, 30 // the doubtful ones do not open it; their look-ups would
				for range 20 {
					box.insert(t, "sms", map[string]any{"max_attempts": poisonous, "priority": int64(0)})
				}
				r := start(t, dispatcher.Config{Store: box, Lanes: []dispatcher.Lane{l}, Logger: discard})
				<-time.After(2 * time.Minute) // until the first calls are over
				born := traffic(t, box, 20*time.Minute)
				if s := r.Status()[0]; s.State != dispatcher.StateOpen || s.Breaker != "closed" {
					t.Errorf("the lane is %+v", s)
				}
				r.end(t)
				list := waited(born, p.made()...)
				if n := len(list); n < len(born)-2 || list[n-1] > 2500*time.Millisecond {
					t.Errorf("%d of %d sent, the last one after %v", n, len(born), list[n-1])
				}
				if asked.Load() < 20 {
					t.Errorf("only %d look-ups for 20 intents", asked.Load())
				}
				for _, doc := range box.mem.All() {
					if doc["max_attempts"] == poisonous && (doc["dead_reason"] != "ambiguous" || doc["attempts"].(int64) > 1) {
						t.Errorf("a doubtful one in the end: %v", doc)
					}
				}
			})
		})
	}
}

// What a probe beside an open breaker meets costs nothing, though others pass: its own breaker's or another worker's.
func TestAProbeOfABreakerCostsNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box, shared := newBox(), &commons{}
		p := &provider{deliver: func(_ context.Context, in *outbox.Intent, _ int) error {
			<-time.After(50 * time.Millisecond)
			if isPoison(in) {
				return &outbox.Failure{Class: outbox.Transient, Code: outbox.CodeServerError}
			}
			return nil
		}}
		_ = shared.Break(t.Context(), "sms", "another", time.Hour)
		r := start(t, dispatcher.Config{Store: box, Shared: shared, Lanes: []dispatcher.Lane{laneOf("sms", p)}, Logger: discard})
		traffic(t, box, 10*time.Second)
		id := box.insert(t, "sms", map[string]any{"max_attempts": poisonous})
		traffic(t, box, 30*time.Second)
		doc := box.get(t, id)
		if last, _ := doc["last_error"].(map[string]any); doc["attempts"] != int64(0) || last["code"] != outbox.CodeServerError {
			t.Errorf("beside another's open breaker: %v", doc)
		}
		_ = shared.Unbreak(t.Context(), "sms", "another")
		traffic(t, box, 3*time.Minute)
		if doc := box.get(t, id); doc["attempts"].(int64) == 0 {
			t.Errorf("beside none: %v", doc)
		}
		r.end(t)
	})
}
