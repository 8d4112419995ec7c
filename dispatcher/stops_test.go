package dispatcher_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/outboxd/outboxd/dispatcher"
	"github.com/outboxd/outboxd/outbox"
)

func TestABreakerCostsNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box := newBox()
		var down = true
		sms := &provider{deliver: func(ctx context.Context, in *outbox.Intent, n int) error {
			if down {
				return &outbox.Failure{Class: outbox.Transient, Code: outbox.CodeNotSent}
			}
			return takes(50*time.Millisecond)(ctx, in, n)
		}}
		email := &provider{deliver: takes(50 * time.Millisecond)}
		lane := laneOf("sms", sms)
		lane.Policy.Retry.MaxAttempts = 100
		r := start(t, dispatcher.Config{Store: box, Lanes: []dispatcher.Lane{lane, laneOf("email", email)}})
		for range 200 {
			box.insert(t, "sms", nil)
		}
		<-time.After(time.Minute) // the breaker is open by now
		before := len(sms.made())
		attempts := box.sum("sms", "attempts")
		slowest := time.Duration(0)
		for range 540 { // nine more minutes; an e-mail each second
			inserted := time.Now()
			n := len(email.made())
			box.insert(t, "email", nil)
			r.Notify(outbox.Hint{Kind: "email"})
			<-time.After(time.Second)
			calls := email.made()
			if len(calls) != n+1 {
				t.Fatalf("an e-mail was not sent within a second beside a broken lane")
			}
			slowest = max(slowest, calls[n].at.Sub(inserted))
		}
		if slowest > 5*time.Millisecond {
			t.Errorf("an e-mail waited %v beside a broken lane", slowest)
		}
		probes := len(sms.made()) - before
		if probes > 2*19 {
			t.Errorf("%d calls in nine minutes with an open breaker, want at most two each half minute", probes)
		}
		if spent := box.sum("sms", "attempts") - attempts; int(spent) > probes {
			t.Errorf("%d attempts for %d probes", spent, probes)
		}
		if s := r.Status()[0]; s.State != dispatcher.StateBroken {
			t.Errorf("the lane is %q, want broken", s.State)
		}
		sms.mu.Lock()
		sms.most = 0
		down = false
		sms.mu.Unlock()
		<-time.After(3 * time.Minute)
		box.want(t, "done", 200+540)
		r.end(t)
	})
}

func TestABreakerProbesOneByOneAfterAnOutage(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box := newBox()
		began := time.Now()
		var flying int
		p := &provider{}
		p.deliver = func(ctx context.Context, _ *outbox.Intent, _ int) error {
			if time.Since(began) < 10*time.Minute {
				return &outbox.Failure{Class: outbox.Ambiguous, Code: outbox.CodeServerError}
			}
			p.mu.Lock()
			flying++
			p.mu.Unlock()
			<-time.After(5 * time.Second)
			p.mu.Lock()
			flying--
			p.mu.Unlock()
			return nil
		}
		lane := laneOf("sms", p)
		lane.Policy.OnAmbiguous = outbox.Retry
		lane.Policy.Retry.MaxAttempts = 100
		r := start(t, dispatcher.Config{Store: box, Lanes: []dispatcher.Lane{lane}})
		for range 50 {
			box.insert(t, "sms", nil)
		}
		<-time.After(10 * time.Minute)
		p.mu.Lock()
		p.calls = p.calls[:0]
		p.mu.Unlock()
		probing := true
		for probing {
			<-time.After(100 * time.Millisecond)
			probing = r.Status()[0].Breaker != "closed"
			p.mu.Lock()
			if probing && flying > 2 {
				t.Errorf("%d calls at once while probing", flying)
			}
			p.mu.Unlock()
		}
		<-time.After(5 * time.Minute)
		r.end(t)
		box.want(t, "done", 50)
	})
}

func TestARateLimitClosesTheGate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box := newBox()
		var limited time.Time
		sms := &provider{}
		sms.deliver = func(_ context.Context, _ *outbox.Intent, n int) error {
			if n == 5 {
				limited = time.Now()
				return &outbox.Failure{Class: outbox.RateLimited, Code: outbox.CodeRateLimited, RetryAfter: 3 * time.Second}
			}
			<-time.After(10 * time.Millisecond)
			return nil
		}
		lane := laneOf("sms", sms)
		lane.Concurrency = 1
		for range 20 {
			box.insert(t, "sms", nil)
		}
		r := start(t, dispatcher.Config{Store: box, Lanes: []dispatcher.Lane{lane}})
		<-time.After(10 * time.Second)
		r.end(t)
		box.want(t, "done", 20)
		for _, c := range sms.made() {
			if since := c.at.Sub(limited); since > 0 && since < 3*time.Second {
				t.Errorf("a call %v after the provider asked for 3s", since)
			}
		}
		if n := box.sum("sms", "attempts"); n != 20 {
			t.Errorf("%d attempts counted for 20 intents: a rate limit is none", n)
		}
	})
}

func TestARateLimitWithoutAnInstantBacksOff(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box := newBox()
		p := &provider{deliver: fails(outbox.RateLimited, outbox.CodeRateLimited)}
		for range 100 {
			box.insert(t, "sms", nil)
		}
		log := &logged{}
		r := start(t, dispatcher.Config{Store: box, Lanes: []dispatcher.Lane{laneOf("sms", p)}, Logger: log.logger()})
		<-time.After(10 * time.Minute)
		r.end(t)
		waves := 0
		var last time.Time
		for _, c := range p.made() {
			if c.at.Sub(last) > 500*time.Millisecond {
				waves++
			}
			last = c.at
		}
		if waves < 10 || waves > 30 {
			t.Errorf("%d waves of calls in ten minutes, want a wait of 1s doubling to 60s", waves)
		}
		if n := strings.Count(log.String(), "level=WARN msg=\"gate closed"); n != waves {
			t.Errorf("%d warnings that the gate is closed, want one a wave: %d", n, waves)
		}
		box.want(t, "pending", 100)
		if n := box.sum("sms", "attempts"); n != 0 {
			t.Errorf("%d attempts", n)
		}
	})
}

func TestAHoldProbesOneAtATime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box := newBox()
		began := time.Now()
		p := &provider{deliver: func(context.Context, *outbox.Intent, int) error {
			if time.Since(began) < 10*time.Minute {
				return &outbox.Failure{Class: outbox.Hold, Code: outbox.CodeUnauthorized, HTTPStatus: 401}
			}
			return nil
		}}
		for range 50 {
			box.insert(t, "sms", nil)
		}
		r := start(t, dispatcher.Config{Store: box, Lanes: []dispatcher.Lane{laneOf("sms", p)}})
		<-time.After(9 * time.Minute)
		first := 0
		for _, c := range p.made() {
			if c.at.Sub(began) < time.Second {
				first++
			}
		}
		if probes := len(p.made()) - first; probes < 11 || probes > 15 {
			t.Errorf("%d probes in nine minutes, want one after 1s, doubling to a minute", probes)
		}
		if s := r.Status()[0]; s.State != dispatcher.StateHeld || s.Why != outbox.CodeUnauthorized {
			t.Errorf("status %+v, want held", s)
		}
		box.want(t, "pending", 50)
		<-time.After(4 * time.Minute)
		r.end(t)
		box.want(t, "done", 50)
	})
}

func TestRateIsKept(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box, p := newBox(), &provider{}
		lane := laneOf("sms", p)
		lane.Rate = 10
		for range 400 {
			box.insert(t, "sms", nil)
		}
		r := start(t, dispatcher.Config{Store: box, Lanes: []dispatcher.Lane{lane}})
		<-time.After(20 * time.Second)
		if n := len(p.made()); n < 195 || n > 212 {
			t.Errorf("%d calls in 20s at 10/s with a burst of one second", n)
		}
		r.end(t)
	})
}
