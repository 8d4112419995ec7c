package dispatcher_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/outboxd/outboxd/dispatcher"
	"github.com/outboxd/outboxd/outbox"
)

func TestDeliversAndSettles(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box := newBox()
		p := &provider{deliver: takes(100 * time.Millisecond)}
		for range 100 {
			box.insert(t, "sms", nil)
		}
		r := start(t, dispatcher.Config{Store: box, Lanes: []dispatcher.Lane{laneOf("sms", p)}})
		<-time.After(3 * time.Second)
		r.end(t)
		box.want(t, "done", 100)
		if n := p.peak(); n != 8 {
			t.Errorf("%d calls at once, want the 8 slots used and no more", n)
		}
		if n := box.asked.Load(); n > 8 {
			t.Errorf("a claim asked for %d intents with 8 slots", n)
		}
	})
}

func TestWakesForANewIntentAndOtherwisePolls(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box, p := newBox(), &provider{}
		r := start(t, dispatcher.Config{Store: box, Lanes: []dispatcher.Lane{laneOf("sms", p)}})
		<-time.After(10*time.Second + 100*time.Millisecond)
		inserted := time.Now()
		box.insert(t, "sms", nil)
		r.Notify(outbox.Hint{Kind: "sms"})
		<-time.After(10 * time.Second)
		box.insert(t, "sms", nil) // without a hint
		unhinted := time.Now()
		<-time.After(2 * time.Second)
		calls := p.made()
		if len(calls) != 2 {
			t.Fatalf("%d calls, want 2", len(calls))
		}
		if late := calls[0].at.Sub(inserted); late > 5*time.Millisecond {
			t.Errorf("called %v after the hint", late)
		}
		if late := calls[1].at.Sub(unhinted); late > 1250*time.Millisecond {
			t.Errorf("called %v after an insert without a hint, want at most a poll", late)
		}
		r.end(t)
	})
}

func TestAnIdleLaneAsksSeldom(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box := newBox()
		r := start(t, dispatcher.Config{Store: box, Lanes: []dispatcher.Lane{laneOf("sms", &provider{})}})
		<-time.After(time.Minute)
		if n := box.claims.Load(); n > 85 {
			t.Errorf("%d claims in an idle minute", n)
		}
		r.end(t)
	})
}

func TestRetriesWhenDueAndGivesUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box := newBox()
		p := &provider{deliver: fails(outbox.Transient, outbox.CodeConflict)}
		id := box.insert(t, "sms", nil)
		lane := laneOf("sms", p)
		lane.Breaker.Consecutive = 100
		r := start(t, dispatcher.Config{Store: box, Lanes: []dispatcher.Lane{lane}})
		<-time.After(5 * time.Minute)
		r.end(t)
		doc := box.get(t, id)
		if len(p.made()) != 5 || doc["status"] != "dead" || doc["dead_reason"] != "exhausted" || doc["attempts"] != int64(5) {
			t.Errorf("%d calls, %v", len(p.made()), doc)
		}
	})
}

func TestTheFenceGivesBackWhatCannotEndInTime(t *testing.T) {
	for name, c := range map[string]struct {
		slow  time.Duration // lease 45s − timeout 10s − margin 2s leaves 33s to begin a call
		stale bool
	}{"in time": {32 * time.Second, false}, "too late": {34 * time.Second, true}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				box := newBox()
				var age time.Duration
				p := &provider{deliver: func(_ context.Context, in *outbox.Intent, _ int) error {
					age = time.Since(in.Lease.At)
					return nil
				}}
				box.slowClaim.Store(int64(c.slow))
				id := box.insert(t, "sms", nil)
				r := start(t, dispatcher.Config{Store: box, Lanes: []dispatcher.Lane{laneOf("sms", p)}})
				<-time.After(time.Second)
				box.slowClaim.Store(0)
				<-time.After(time.Minute)
				r.end(t)
				if doc := box.get(t, id); doc["status"] != "done" || doc["attempts"] != int64(1) || len(p.made()) != 1 {
					t.Errorf("after %d calls: %v", len(p.made()), doc)
				}
				if fresh := age < time.Second; fresh != c.stale {
					t.Errorf("called %v after the claim", age)
				}
			})
		})
	}
}

func TestACallEndsWithItsTimeout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box := newBox()
		p := &provider{deliver: takes(time.Hour)}
		id := box.insert(t, "sms", nil)
		r := start(t, dispatcher.Config{Store: box, Lanes: []dispatcher.Lane{laneOf("sms", p)}})
		<-time.After(11 * time.Second)
		if doc := box.get(t, id); doc["status"] != "dead" || doc["dead_reason"] != "ambiguous" {
			t.Errorf("after the timeout: %v", doc)
		}
		r.end(t)
	})
}

func TestDrainWaitsForCallsAndLeavesNothingLeased(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box := newBox()
		p := &provider{deliver: takes(5 * time.Second)}
		for range 40 {
			box.insert(t, "sms", nil)
		}
		r := start(t, dispatcher.Config{Store: box, Lanes: []dispatcher.Lane{laneOf("sms", p)}})
		<-time.After(time.Second)
		asked := time.Now()
		r.end(t)
		if took := time.Since(asked); took > 5*time.Second {
			t.Errorf("the drain took %v", took)
		}
		box.want(t, "done", 8)
		box.want(t, "pending", 32)
	})
}

func TestAStopDuringAClaimGivesBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box, p := newBox(), &provider{}
		box.slowClaim.Store(int64(3 * time.Second))
		id := box.insert(t, "sms", nil)
		r := start(t, dispatcher.Config{Store: box, Lanes: []dispatcher.Lane{laneOf("sms", p)}})
		<-time.After(time.Second)
		r.end(t)
		if doc := box.get(t, id); doc["status"] != "pending" || doc["attempts"] != int64(0) || len(p.made()) != 0 {
			t.Errorf("not given back: %v, %d calls", doc, len(p.made()))
		}
	})
}

func TestAbortMakesCallsAmbiguous(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box := newBox()
		p := &provider{deliver: takes(9 * time.Second)}
		id := box.insert(t, "sms", nil)
		r := start(t, dispatcher.Config{Store: box, Lanes: []dispatcher.Lane{laneOf("sms", p)}})
		<-time.After(time.Second)
		r.stop()
		<-time.After(time.Second)
		r.abort()
		if err := <-r.done; err != nil {
			t.Error(err)
		}
		if doc := box.get(t, id); doc["status"] != "dead" || doc["dead_reason"] != "ambiguous" {
			t.Errorf("after abort: %v", doc)
		}
	})
}

func TestOutcomesSurviveAnOutageOfTheDatabase(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box := newBox()
		p := &provider{deliver: takes(2 * time.Second)}
		for range 20 {
			box.insert(t, "sms", nil)
		}
		r := start(t, dispatcher.Config{Store: box, Lanes: []dispatcher.Lane{laneOf("sms", p)}})
		<-time.After(time.Second)
		box.down.Store(true)
		<-time.After(20 * time.Second)
		if n := len(p.made()); n != 8 {
			t.Errorf("%d calls while the database was away, want only the 8 claimed before", n)
		}
		if n := box.claims.Load() + box.settles.Load(); n > 60 {
			t.Errorf("%d tries in 20s without a database", n)
		}
		box.down.Store(false)
		<-time.After(15 * time.Second)
		r.end(t)
		box.want(t, "done", 20)
		if n := len(p.made()); n != 20 {
			t.Errorf("%d calls for 20 intents", n)
		}
	})
}

func TestOutcomesThatCannotBeSettledAreReported(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box := newBox()
		p := &provider{deliver: takes(2 * time.Second)}
		box.insert(t, "sms", nil)
		r := start(t, dispatcher.Config{Store: box, Lanes: []dispatcher.Lane{laneOf("sms", p)}})
		<-time.After(time.Second)
		box.down.Store(true)
		r.stop()
		<-time.After(time.Minute)
		select {
		case err := <-r.done:
			t.Fatalf("Run gave up on an outcome before it was told to abort: %v", err)
		default:
		}
		aborted := time.Now()
		r.abort()
		err := <-r.done
		if err == nil || !strings.Contains(err.Error(), "1 outcomes could not be settled") {
			t.Errorf("Run: %v", err)
		}
		if took := time.Since(aborted); took > 16*time.Second {
			t.Errorf("Run ended %v after abort", took)
		}
	})
}

func TestExpiresWhilePausedHeldOrUnserved(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box := newBox()
		p := &provider{deliver: fails(outbox.Hold, outbox.CodeUnauthorized)}
		soon := time.Now().Add(10 * time.Second)
		for _, kind := range []string{"sms", "fax"} {
			box.insert(t, kind, map[string]any{"expires_at": soon, "due_at": time.Now().Add(5 * time.Second)})
		}
		r := start(t, dispatcher.Config{Store: box, Lanes: []dispatcher.Lane{laneOf("sms", p)}})
		<-time.After(70 * time.Second)
		r.end(t)
		box.want(t, "dead", 2)
	})
}

func TestAnIntentThatExpiresBetweenClaimAndCallIsNotSent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box, p := newBox(), &provider{}
		box.slowClaim.Store(int64(5 * time.Second))
		id := box.insert(t, "sms", map[string]any{"expires_at": time.Now().Add(3 * time.Second)})
		r := start(t, dispatcher.Config{Store: box, Lanes: []dispatcher.Lane{laneOf("sms", p)}})
		<-time.After(10 * time.Second)
		r.end(t)
		if doc := box.get(t, id); doc["dead_reason"] != "expired" || len(p.made()) != 0 {
			t.Errorf("%d calls, %v", len(p.made()), doc)
		}
	})
}

func TestAPanicIsAmbiguousAndLogsNoPayload(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box := newBox()
		p := &provider{deliver: func(context.Context, *outbox.Intent, int) error { panic(errors.New("+4915112345678")) }}
		id := box.insert(t, "sms", nil)
		log := &logged{}
		r := start(t, dispatcher.Config{Store: box, Lanes: []dispatcher.Lane{laneOf("sms", p)}, Logger: log.logger()})
		<-time.After(time.Second)
		r.end(t)
		if doc := box.get(t, id); doc["dead_reason"] != "ambiguous" {
			t.Errorf("%v", doc)
		}
		if strings.Contains(log.String(), "+4915112345678") {
			t.Error("the panic's value was logged")
		}
	})
}

func TestReconcilesAnAmbiguousOutcome(t *testing.T) {
	for name, c := range map[string]struct {
		found        func(after time.Duration) (bool, error)
		status       string
		calls        int
		least, most_ time.Duration
	}{
		"found later": {func(d time.Duration) (bool, error) { return d > 70*time.Second, nil }, "done", 1, 70 * time.Second, 95 * time.Second},
		"never there": {func(time.Duration) (bool, error) { return false, nil }, "done", 2, 2 * time.Minute, 3 * time.Minute},
		"cannot tell": {func(time.Duration) (bool, error) {
			return false, &outbox.Failure{Class: outbox.Ambiguous, Code: outbox.CodeCannotTell}
		}, "dead", 1, 15 * time.Minute, 17 * time.Minute},
		"a final no": {func(time.Duration) (bool, error) {
			return false, &outbox.Failure{Class: outbox.Permanent, Code: outbox.CodeRejected}
		}, "dead", 1, 30 * time.Second, 40 * time.Second},
		"our own hold": {func(time.Duration) (bool, error) {
			return false, &outbox.Failure{Class: outbox.Hold, Code: outbox.CodeUnauthorized}
		}, "dead", 1, 15 * time.Minute, 17 * time.Minute},
		"our own limit": {func(time.Duration) (bool, error) {
			return false, &outbox.Failure{Class: outbox.RateLimited, Code: outbox.CodeRateLimited, RetryAfter: 2 * time.Minute}
		}, "dead", 1, 15 * time.Minute, 18 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				box := newBox()
				began := time.Now()
				p := &provider{}
				p.deliver = func(_ context.Context, _ *outbox.Intent, n int) error {
					if n == 1 {
						return &outbox.Failure{Class: outbox.Ambiguous, Code: outbox.CodeNoAnswer}
					}
					return nil
				}
				p.lookUp = func(context.Context, *outbox.Intent) (bool, error) { return c.found(time.Since(began)) }
				lane := laneOf("email", p)
				lane.Policy.OnAmbiguous = outbox.Reconcile
				lane.Breaker.Consecutive = 1000
				lane.Breaker.MinRequests = 1000
				id := box.insert(t, "email", nil)
				r := start(t, dispatcher.Config{Store: box, Lanes: []dispatcher.Lane{lane}})
				var took time.Duration
				for took < time.Hour && box.get(t, id)["status"] != c.status || took == 0 {
					<-time.After(time.Second)
					took = time.Since(began)
				}
				r.end(t)
				doc := box.get(t, id)
				if doc["status"] != c.status || len(p.made()) != c.calls || took < c.least || took > c.most_ {
					t.Errorf("after %v and %d calls: %v", took, len(p.made()), doc)
				}
				if doc["attempts"] != int64(c.calls) {
					t.Errorf("attempts %v for %d calls: a look-up is none", doc["attempts"], c.calls)
				}
			})
		})
	}
}

func TestALostLeaseIsCountedNotFatal(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box := newBox()
		p := &provider{deliver: takes(5 * time.Second)}
		id := box.insert(t, "sms", nil)
		c := &counter{}
		r := start(t, dispatcher.Config{Store: box, Lanes: []dispatcher.Lane{laneOf("sms", p)}, Observer: c})
		<-time.After(time.Second)
		box.steal(t, id)
		<-time.After(10 * time.Second)
		r.end(t)
		if c.lost != 1 {
			t.Errorf("%d lost leases counted, want 1", c.lost)
		}
		if doc := box.get(t, id); doc["status"] == "done" {
			t.Error("a stale token settled an intent")
		}
	})
}

func TestSettlesInBatches(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box := newBox()
		p := &provider{deliver: takes(100 * time.Millisecond)}
		lane := laneOf("sms", p)
		lane.Concurrency = 128
		for range 1280 {
			box.insert(t, "sms", nil)
		}
		r := start(t, dispatcher.Config{Store: box, Lanes: []dispatcher.Lane{lane}})
		for len(p.made()) < 1280 { // a busy lane that finds nothing any more still looks for a while
			<-time.After(10 * time.Millisecond)
		}
		r.end(t)
		box.want(t, "done", 1280)
		if n := box.settles.Load(); n > 100 { // they take no time here, so that few gather meanwhile
			t.Errorf("%d settles for 1280 intents", n)
		}
		if n := box.claims.Load(); n > 60 {
			t.Errorf("%d claims for 1280 intents", n)
		}
	})
}

func TestOutcomesThatComeTogetherAreSettledTogether(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box := newBox()
		p := &provider{deliver: func(ctx context.Context, in *outbox.Intent, n int) error {
			return takes(5*time.Millisecond+time.Duration(n)*100*time.Microsecond)(ctx, in, n)
		}}
		for range 8 {
			box.insert(t, "sms", nil)
		}
		r := start(t, dispatcher.Config{Store: box, Lanes: []dispatcher.Lane{laneOf("sms", p)}})
		<-time.After(time.Second)
		r.end(t)
		box.want(t, "done", 8)
		if n := box.settles.Load(); n != 1 {
			t.Errorf("eight outcomes within a millisecond were settled by %d batches", n)
		}
	})
}

func TestConfigurationIsCheckedWhole(t *testing.T) {
	lane := laneOf("sms", &provider{})
	lane.Concurrency, lane.Lease, lane.Breaker.Probes, lane.Policy.Retry.MaxAttempts = 0, 12*time.Second, 0, 0
	_, err := dispatcher.New(dispatcher.Config{Lanes: []dispatcher.Lane{lane, lane}})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"concurrency", "lease is 12s, must be at least timeout + 5s (15s)", "probes", "max_attempts", "stands twice", "required"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no word of %q in: %v", want, err)
		}
	}
}
