package dispatcher_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outboxd/outboxd/dispatcher"
	"github.com/outboxd/outboxd/outbox"
)

// poisonous is the number of attempts by which tests know an intent that is refused for its own sake.
const poisonous = int64(7)

func refusal(code string) error {
	return &outbox.Failure{Class: outbox.Hold, Code: code, HTTPStatus: 403}
}

func isPoison(in *outbox.Intent) bool { return in.MaxAttempts == int(poisonous) }

// traffic inserts two healthy intents a second for so long, and returns when each was inserted.
func traffic(t *testing.T, box *box, d time.Duration) map[string]time.Time {
	born := make(map[string]time.Time)
	for range d / time.Second {
		for range 2 {
			born[box.insert(t, "sms", nil)] = time.Now()
		}
		<-time.After(time.Second)
	}
	return born
}

// waited returns how long healthy intents waited for their calls, shortest first.
func waited(born map[string]time.Time, calls ...call) []time.Duration {
	var list []time.Duration
	for _, c := range calls {
		if b, ok := born[c.id]; ok {
			list = append(list, c.at.Sub(b))
		}
	}
	slices.Sort(list)
	return list
}

// Intents that the provider refuses for their own sake stop nobody, and end as refused.
func TestPoisonsStopNobody(t *testing.T) {
	for _, c := range []struct {
		poisons  int
		priority int64
		code     func(n int) string
		settled  time.Duration // how long it may take to tell so many poisons from an account that is refused
	}{
		{1, 0, nil, 0}, {2, 1, nil, 0}, {3, 0, nil, 0}, {5, 1, nil, 5 * time.Second},
		{20, 1, nil, 20 * time.Second}, {20, 0, nil, 20 * time.Second},
		{5, 0, func(n int) string { return []string{outbox.CodeUnauthorized, outbox.CodeForbidden}[n%2] }, 5 * time.Second},
		{5, 1, func(int) string { return outbox.CodeNotTheProvider }, 5 * time.Second},
	} {
		for _, workers := range []int{1, 2} {
			lasts := 4 * time.Minute
			if workers == 1 && c.poisons == 1 {
				lasts = 10 * time.Minute // long enough for a poison's own waits to have grown
			}
			if raceEnabled && (workers == 1 || c.poisons != 2) {
				continue
			}
			t.Run(fmt.Sprintf("%d of priority %d, other codes %v, %d workers", c.poisons, c.priority, c.code != nil, workers), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					box, shared := newBox(), &commons{}
					p := &provider{deliver: func(_ context.Context, in *outbox.Intent, n int) error {
						<-time.After(50 * time.Millisecond)
						switch {
						case !isPoison(in):
							return nil
						case c.code != nil:
							return refusal(c.code(n))
						default:
							return refusal(outbox.CodeForbidden)
						}
					}}
					for range c.poisons {
						box.insert(t, "sms", map[string]any{"max_attempts": poisonous, "priority": c.priority})
					}
					var all []*running
					for i := range workers {
						all = append(all, start(t, dispatcher.Config{Worker: fmt.Sprint("w", i), Store: box, Shared: shared, Lanes: []dispatcher.Lane{laneOf("sms", p)}, Logger: discard}))
					}
					began := time.Now()
					born := traffic(t, box, lasts)
					for _, r := range all {
						if s := r.Status()[0]; s.State != dispatcher.StateOpen {
							t.Errorf("the lane is %+v in the end", s)
						}
						r.end(t)
					}
					list := waited(born, p.made()...)
					if len(list) < len(born)-2 {
						t.Errorf("%d of %d healthy intents were sent", len(list), len(born))
					}
					if last := list[len(list)-1]; last > time.Minute {
						t.Errorf("the last of the healthy ones was sent after %v", last)
					}
					// Until the first few have passed, nobody can know whether the provider refuses the intents or the
					// account.
					maps.DeleteFunc(born, func(_ string, at time.Time) bool { return at.Sub(began) < c.settled })
					list = waited(born, p.made()...)
					if late := list[len(list)*99/100]; late > 1500*time.Millisecond {
						t.Errorf("99%% of the healthy ones were sent after %v", late)
					}
					for _, doc := range box.mem.All() {
						last, _ := doc["last_error"].(map[string]any)
						if doc["max_attempts"] == poisonous && (doc["dead_reason"] != "permanent" || last["code"] != outbox.CodeRefused || doc["attempts"] != poisonous) {
							t.Errorf("a poison in the end: %v", doc)
						}
					}
				})
			})
		}
	}
}

// Wrong credentials cost no intent an attempt, however many there are and whatever the provider calls it, and cost the
// provider one call at a time. When they are right again, everything is sent.
func TestWrongCredentialsCostNothing(t *testing.T) {
	for name, c := range map[string]struct {
		intents, workers int
		code             func(n int) string
		before           bool // healthy traffic passed before they became wrong
	}{
		"one":                {1, 1, nil, false},
		"two":                {2, 1, nil, false},
		"many":               {50, 1, nil, false},
		"many, after passes": {50, 1, nil, true},
		"one, after passes":  {1, 1, nil, true},
		"two workers":        {50, 2, nil, true},
		"alternating codes":  {50, 1, func(n int) string { return []string{outbox.CodeUnauthorized, outbox.CodeForbidden}[n%2] }, true},
		"a gateway's page":   {50, 1, func(int) string { return outbox.CodeNotTheProvider }, true},
	} {
		if raceEnabled && name != "two workers" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				box, shared := newBox(), &commons{}
				var wrong atomic.Bool
				p := &provider{deliver: func(_ context.Context, _ *outbox.Intent, n int) error {
					<-time.After(50 * time.Millisecond)
					switch {
					case !wrong.Load():
						return nil
					case c.code != nil:
						return refusal(c.code(n))
					default:
						return refusal(outbox.CodeUnauthorized)
					}
				}}
				var all []*running
				for i := range c.workers {
					all = append(all, start(t, dispatcher.Config{Worker: fmt.Sprint("w", i), Store: box, Shared: shared, Lanes: []dispatcher.Lane{laneOf("sms", p)}, Logger: discard}))
				}
				if c.before {
					traffic(t, box, 20*time.Second)
				}
				wrong.Store(true)
				for range c.intents {
					box.insert(t, "sms", nil)
				}
				<-time.After(time.Minute)
				before := len(p.made())
				p.mu.Lock()
				p.most = 0
				p.mu.Unlock()
				<-time.After(time.Hour)
				if n := len(p.made()) - before; n > 65*c.workers {
					t.Errorf("%d calls in an hour of wrong credentials by %d workers, want one a minute each", n, c.workers)
				}
				if n := p.peak(); n > c.workers {
					t.Errorf("%d calls at once by %d workers", n, c.workers)
				}
				for _, doc := range box.mem.All() {
					if doc["status"] != "done" && (doc["status"] != "pending" || doc["attempts"] != int64(0) && doc["attempts"] != nil) {
						t.Fatalf("an intent after three hours: %v", doc)
					}
				}
				wrong.Store(false)
				<-time.After(2*time.Minute + 10*time.Second)
				for _, r := range all {
					r.end(t)
				}
				box.want(t, "done", len(box.mem.All()))
			})
		})
	}
}

// Whoever starts during an outage of the credentials, or beside a poison, has seen nothing yet.
func TestAFreshWorkerJudgesNobody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box := newBox()
		p := &provider{deliver: func(context.Context, *outbox.Intent, int) error { return refusal(outbox.CodeUnauthorized) }}
		for range 3 {
			box.insert(t, "sms", nil)
		}
		for range 30 { // a worker that is restarted each minute
			r := start(t, dispatcher.Config{Store: box, Lanes: []dispatcher.Lane{laneOf("sms", p)}, Logger: discard})
			<-time.After(time.Minute)
			r.end(t)
		}
		if n := box.sum("sms", "attempts"); n != 0 {
			t.Errorf("%d attempts", n)
		}
		box.want(t, "pending", 3)

		p.deliver = func(_ context.Context, in *outbox.Intent, _ int) error {
			if isPoison(in) {
				return refusal(outbox.CodeForbidden)
			}
			return nil
		}
		box.insert(t, "sms", map[string]any{"max_attempts": poisonous, "priority": int64(0)})
		r := start(t, dispatcher.Config{Store: box, Lanes: []dispatcher.Lane{laneOf("sms", p)}, Logger: discard})
		<-time.After(61 * time.Second)
		r.end(t)
		box.want(t, "done", 3)
	})
}

// A call that was begun before the hold tells nothing of it.
func TestACallBegunBeforeTheHoldDoesNotEndIt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box := newBox()
		began := time.Now()
		p := &provider{deliver: func(_ context.Context, _ *outbox.Intent, n int) error {
			if n == 1 {
				<-time.After(700 * time.Millisecond)
				return nil
			}
			<-time.After(10 * time.Millisecond)
			return refusal(outbox.CodeUnauthorized)
		}}
		for range 8 {
			box.insert(t, "sms", nil)
		}
		log := &logged{}
		r := start(t, dispatcher.Config{Store: box, Lanes: []dispatcher.Lane{laneOf("sms", p)}, Logger: log.logger()})
		<-time.After(900 * time.Millisecond)
		box.want(t, "done", 1)
		if s := r.Status()[0]; s.State != dispatcher.StateHeld || s.Why != outbox.CodeUnauthorized {
			t.Errorf("%v after the start the lane is %+v, want held", time.Since(began), s)
		}
		r.end(t)
	})
}

// What was claimed and is to be called when the lane is paused, gated or held is given back.
func TestALaneThatIsClosedWhileItClaimsCallsNobody(t *testing.T) {
	for name, change := range map[string]func(*outbox.LaneState){
		"paused": func(s *outbox.LaneState) { s.Paused = true },
		"gated":  func(s *outbox.LaneState) { s.GateUntil = time.Now().Add(time.Hour) },
		"held":   func(s *outbox.LaneState) { s.HeldSince, s.HoldCode = time.Now(), outbox.CodeUnauthorized },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				box, p, shared := newBox(), &provider{}, &commons{}
				box.slowClaim.Store(int64(3 * time.Second))
				id := box.insert(t, "sms", nil)
				r := start(t, dispatcher.Config{Store: box, Shared: shared, Lanes: []dispatcher.Lane{laneOf("sms", p)}, Logger: discard})
				<-time.After(time.Second) // the claim is made, and its answer on its way
				_ = shared.change("sms", change)
				r.Notify(outbox.Hint{Shared: true})
				<-time.After(2*time.Second + 500*time.Millisecond)
				if n := len(p.made()); n != 0 {
					t.Errorf("%d calls in a lane that was closed before", n)
				}
				if doc := box.get(t, id); name != "held" && (doc["status"] != "pending" || doc["attempts"] != int64(0)) { // held, it is probed
					t.Errorf("not given back: %v", doc)
				}
				r.end(t)
			})
		})
	}
}

// A gate that another worker or a person shortens is shortened everywhere; one that only this worker knows of is not.
func TestAGateCanBeTakenBack(t *testing.T) {
	for name, change := range map[string]func(*outbox.LaneState){
		"removed":   func(s *outbox.LaneState) { s.GateUntil = time.Time{} },
		"passed":    func(s *outbox.LaneState) { s.GateUntil = time.Now().Add(-time.Hour) },
		"shortened": func(s *outbox.LaneState) { s.GateUntil = time.Now().Add(500 * time.Millisecond) },
	} {
		for _, by := range []string{"a person", "the provider"} {
			t.Run(name+", closed by "+by, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					box, shared := newBox(), &commons{}
					var limited atomic.Bool
					deliver := func(context.Context, *outbox.Intent, int) error {
						if limited.Swap(false) {
							return &outbox.Failure{Class: outbox.RateLimited, Code: outbox.CodeRateLimited, RetryAfter: time.Hour}
						}
						return nil
					}
					providers := [2]*provider{{deliver: deliver}, {deliver: deliver}}
					both := two(t, box, shared, func(i int) dispatcher.Lane { return laneOf("sms", providers[i]) })
					<-time.After(2 * time.Second)
					if by == "a person" {
						_ = shared.change("sms", func(s *outbox.LaneState) { s.GateUntil = time.Now().Add(365 * 24 * time.Hour) })
					} else {
						limited.Store(true)
						box.insert(t, "sms", nil)
					}
					<-time.After(30 * time.Second)
					for _, r := range both {
						if s := r.Status()[0]; s.State != dispatcher.StateGated {
							t.Errorf("the lane is %+v, want gated", s)
						}
					}
					_ = shared.change("sms", change)
					<-time.After(1600 * time.Millisecond)
					for _, r := range both {
						if s := r.Status()[0]; s.State != dispatcher.StateOpen {
							t.Errorf("%v after the gate was taken back: %+v", 1600*time.Millisecond, s)
						}
					}
					id := box.insert(t, "sms", nil)
					<-time.After(1500 * time.Millisecond)
					if doc := box.get(t, id); doc["status"] != "done" {
						t.Errorf("an intent after that: %v", doc)
					}
					for _, r := range both {
						r.end(t)
					}
				})
			})
		}
	}
}

// A limit that names one sender delays its intents only.
func TestALimitOfOneSenderDelaysOnlyIts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box := newBox()
		p := &provider{deliver: func(_ context.Context, in *outbox.Intent, _ int) error {
			<-time.After(50 * time.Millisecond)
			if isPoison(in) {
				return &outbox.Failure{Class: outbox.RateLimited, Code: outbox.CodeSenderQueueFull, RetryAfter: time.Hour, LaneOpen: true}
			}
			return nil
		}}
		for range 10 {
			box.insert(t, "sms", map[string]any{"max_attempts": poisonous, "priority": int64(0)})
		}
		r := start(t, dispatcher.Config{Store: box, Lanes: []dispatcher.Lane{laneOf("sms", p)}, Logger: discard})
		born := traffic(t, box, 10*time.Minute)
		r.end(t)
		if list := waited(born, p.made()...); len(list) < len(born)-2 || list[len(list)-1] > 1500*time.Millisecond {
			t.Errorf("%d of %d sent, the last one after %v", len(list), len(born), list[len(list)-1])
		}
		if n := box.sum("sms", "attempts"); n != int64(len(born)) && n != int64(len(born)-2) && n != int64(len(born)-1) {
			t.Errorf("%d attempts for %d healthy intents", n, len(born))
		}
	})
}

// When a hold ends, by a probe or by a person, what met it runs at once, on whichever worker.
func TestWhatMetAHoldRunsAtOnceWhenItEnds(t *testing.T) {
	for _, by := range []string{"a probe", "a person"} {
		t.Run(by, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				box := newBox()
				shared := &commons{box: box}
				var wrong atomic.Bool
				wrong.Store(true)
				deliver := func(context.Context, *outbox.Intent, int) error {
					if wrong.Load() {
						return refusal(outbox.CodeUnauthorized)
					}
					return nil
				}
				providers := [2]*provider{{deliver: deliver}, {deliver: deliver}}
				for range 10 {
					box.insert(t, "sms", nil)
				}
				both := two(t, box, shared, func(i int) dispatcher.Lane { return laneOf("sms", providers[i]) })
				<-time.After(2*time.Hour + 13*time.Second)
				wrong.Store(false)
				if by == "a person" { // with a shell; lane resume hastens as well
					_ = shared.Unhold(t.Context(), "sms")
				} else {
					for box.sum("sms", "attempts") == 0 {
						<-time.After(100 * time.Millisecond)
					}
				}
				<-time.After(2500 * time.Millisecond)
				for _, r := range both {
					if s := r.Status()[0]; s.State != dispatcher.StateOpen {
						t.Errorf("the lane is %+v", s)
					}
					r.end(t)
				}
				box.want(t, "done", 10)
			})
		})
	}
}

// A held lane probes as often as it says, also where every intent waits longer than that for itself.
func TestAHeldLaneFindsSomethingToProbeWith(t *testing.T) {
	for name, c := range map[string]struct {
		begin func(t *testing.T, shared *commons, restart func())
		most  time.Duration // from when the provider lets us in until all are done
	}{
		"held for long":   {func(*testing.T, *commons, func()) {}, 62 * time.Second},
		"restarted":       {func(_ *testing.T, _ *commons, restart func()) { restart() }, 10 * time.Second},
		"resumed in vain": {func(t *testing.T, shared *commons, _ func()) { _ = shared.Unhold(t.Context(), "sms") }, 13 * time.Second},
	} {
		for _, n := range []int{1, 2, 3} {
			if n == 1 && name == "resumed in vain" {
				continue // one alone does not hold the lane again
			}
			t.Run(fmt.Sprint(n, " ", name), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					box := newBox()
					shared := &commons{box: box}
					var wrong atomic.Bool
					wrong.Store(true)
					p := &provider{deliver: func(context.Context, *outbox.Intent, int) error {
						if wrong.Load() {
							return refusal(outbox.CodeNotTheProvider)
						}
						return nil
					}}
					for range n {
						box.insert(t, "sms", nil)
					}
					_ = shared.Hold(t.Context(), "sms", outbox.CodeNotTheProvider)
					config := dispatcher.Config{Store: box, Shared: shared, Lanes: []dispatcher.Lane{laneOf("sms", p)}, Logger: discard}
					r := start(t, config)
					<-time.After(time.Hour + 13*time.Second)
					before := len(p.made())
					<-time.After(time.Hour)
					if calls := len(p.made()) - before; calls < 58 || calls > 60 {
						t.Errorf("%d calls in an hour, want one a minute", calls)
					}
					c.begin(t, shared, func() {
						r.end(t)
						r = start(t, config)
					})
					<-time.After(11 * time.Second)
					wrong.Store(false)
					<-time.After(c.most)
					box.want(t, "done", n)
					r.end(t)
				})
			})
		}
	}
}

// A held lane that found nothing to probe with has not probed: what comes then is the probe.
func TestAHeldLaneWithoutIntentsProbesWithTheNext(t *testing.T) {
	for _, later := range []time.Duration{5 * time.Second, 25 * time.Second, 45 * time.Second} {
		t.Run(later.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				box := newBox()
				var wrong atomic.Bool
				wrong.Store(true)
				p := &provider{deliver: func(context.Context, *outbox.Intent, int) error {
					if wrong.Load() {
						return refusal(outbox.CodeUnauthorized)
					}
					return nil
				}}
				for range 2 {
					box.insert(t, "sms", map[string]any{"expires_at": time.Now().Add(30 * time.Minute)})
				}
				r := start(t, dispatcher.Config{Store: box, Lanes: []dispatcher.Lane{laneOf("sms", p)}, Logger: discard})
				<-time.After(35*time.Minute + later)
				box.want(t, "dead", 2)
				if s := r.Status()[0]; s.State != dispatcher.StateHeld {
					t.Errorf("the lane is %+v, want held", s)
				}
				wrong.Store(false)
				box.insert(t, "sms", nil)
				<-time.After(2 * time.Second)
				box.want(t, "done", 1)
				r.end(t)
			})
		})
	}
}

// A held lane probes with any intent that was not refused yet, and with one that was only where there is no other.
func TestProbesAvoidWhatWasRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box := newBox()
		store := &ordered{Store: box}
		p := &provider{deliver: fails(outbox.Hold, outbox.CodeUnauthorized)}
		for range 5 {
			box.insert(t, "sms", map[string]any{"priority": int64(0)})
		}
		l := laneOf("sms", p)
		l.Concurrency = 3
		r := start(t, dispatcher.Config{Store: store, Lanes: []dispatcher.Lane{l}, Logger: discard})
		<-time.After(10 * time.Second)
		seen := make(map[string]bool)
		for _, c := range p.made()[:5] {
			seen[c.id] = true
		}
		if len(seen) != 5 {
			t.Errorf("the first five calls were for %v, want one for each of five intents", seen)
		}
		<-time.After(10 * time.Minute)
		for i, order := range store.taken() {
			if held := i > 0; held && (!order.Sample || order.Limit != 1) {
				t.Fatalf("a held lane claimed by %+v", order)
			}
		}
		if n := len(p.made()); n < 15 {
			t.Errorf("%d calls in ten minutes: it stopped probing when all were refused", n)
		}
		r.end(t)
	})
}
