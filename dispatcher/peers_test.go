package dispatcher_test

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outboxd/outboxd/dispatcher"
	"github.com/outboxd/outboxd/outbox"
)

// commons is a shared state in memory.
type commons struct {
	mu      sync.Mutex
	lanes   map[string]outbox.LaneState
	workers map[string]outbox.Worker
	box     *box // where Hasten finds what was refused; may be nil
}

func (c *commons) change(kind string, f func(*outbox.LaneState)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lanes == nil {
		c.lanes = make(map[string]outbox.LaneState)
	}
	s := c.lanes[kind]
	f(&s)
	c.lanes[kind] = s
	return nil
}

func (c *commons) Lanes(context.Context) (map[string]outbox.LaneState, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	lanes := make(map[string]outbox.LaneState)
	maps.Copy(lanes, c.lanes)
	return lanes, nil
}

func (c *commons) CloseGate(_ context.Context, kind string, d time.Duration) error {
	return c.change(kind, func(s *outbox.LaneState) {
		if until := time.Now().Add(d); until.After(s.GateUntil) {
			s.GateUntil = until
		}
	})
}

func (c *commons) Hold(_ context.Context, kind, code string) error {
	return c.change(kind, func(s *outbox.LaneState) { s.HeldSince, s.HoldCode = time.Now(), code })
}

func (c *commons) Unhold(_ context.Context, kind string) error {
	return c.change(kind, func(s *outbox.LaneState) { s.HeldSince, s.HoldCode = time.Time{}, "" })
}

func (c *commons) Hasten(_ context.Context, kind string) error {
	if c.box == nil {
		return nil
	}
	c.box.mem.ChangeWhere(func(doc map[string]any) bool {
		last, _ := doc["last_error"].(map[string]any)
		return doc["kind"] == kind && doc["status"] == "pending" && last["class"] == "hold"
	}, "due_at", time.Now())
	return nil
}

func (c *commons) Break(_ context.Context, kind, worker string, d time.Duration) error {
	return c.change(kind, func(s *outbox.LaneState) { s.BrokenUntil, s.BrokenBy = time.Now().Add(d), worker })
}

func (c *commons) Unbreak(_ context.Context, kind, _ string) error {
	return c.change(kind, func(s *outbox.LaneState) { s.BrokenUntil, s.BrokenBy = time.Time{}, "" })
}

func (c *commons) Heartbeat(_ context.Context, w outbox.Worker) (map[string]int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.workers == nil {
		c.workers = make(map[string]outbox.Worker)
	}
	c.workers[w.Name] = w
	live := make(map[string]int)
	for _, w := range c.workers {
		for _, kind := range w.Kinds {
			live[kind]++
		}
	}
	return live, nil
}

func (c *commons) Leave(_ context.Context, worker string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.workers, worker)
	return nil
}

// two starts two workers that share everything but their providers.
func two(t *testing.T, box *box, shared *commons, lane func(worker int) dispatcher.Lane) [2]*running {
	t.Helper()
	var both [2]*running
	for i := range both {
		both[i] = start(t, dispatcher.Config{Worker: fmt.Sprintf("w%d", i+1), Store: box, Shared: shared, Lanes: []dispatcher.Lane{lane(i)}})
	}
	return both
}

func TestARateLimitStopsEveryWorker(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box, shared := newBox(), &commons{}
		var mu sync.Mutex
		var limited time.Time
		var told int // the worker that the provider told
		slow := func(worker int) func(context.Context, *outbox.Intent, int) error {
			return func(_ context.Context, _ *outbox.Intent, n int) error {
				mu.Lock()
				hit := limited.IsZero() && n > 20
				if hit {
					limited, told = time.Now(), worker
				}
				mu.Unlock()
				if hit {
					return &outbox.Failure{Class: outbox.RateLimited, Code: outbox.CodeRateLimited, RetryAfter: 3 * time.Second}
				}
				<-time.After(200 * time.Millisecond)
				return nil
			}
		}
		providers := [2]*provider{{deliver: slow(0)}, {deliver: slow(1)}}
		both := two(t, box, shared, func(i int) dispatcher.Lane { return laneOf("sms", providers[i]) })
		for range 200 {
			box.insert(t, "sms", nil)
		}
		<-time.After(20 * time.Second)
		for _, r := range both {
			r.end(t)
		}
		box.want(t, "done", 200)
		reached := 10 * time.Millisecond // hints wake the exchange at once; the other worker reads within a second
		for i, p := range providers {
			for _, c := range p.made() {
				since := c.at.Sub(limited)
				if i == told && since > reached && since < 3*time.Second-reached || i != told && since > time.Second && since < 3*time.Second-reached {
					t.Errorf("worker %d called %v after the provider asked everybody for 3s", i+1, since)
				}
			}
		}
	})
}

func TestTheRateIsTheDeployments(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box, shared := newBox(), &commons{}
		providers := [2]*provider{{}, {}}
		for range 700 {
			box.insert(t, "sms", nil)
		}
		both := two(t, box, shared, func(i int) dispatcher.Lane {
			lane := laneOf("sms", providers[i])
			lane.Rate = 10
			return lane
		})
		made := func() int { return len(providers[0].made()) + len(providers[1].made()) }
		<-time.After(10 * time.Second) // both have met by now
		before := made()
		<-time.After(20 * time.Second)
		if n := made() - before; n < 185 || n > 215 {
			t.Errorf("two workers made %d calls in 20s at 10/s", n)
		}
		both[1].end(t)
		<-time.After(10 * time.Second)
		before = made()
		<-time.After(20 * time.Second)
		if n := made() - before; n < 185 || n > 215 {
			t.Errorf("the one worker left made %d calls in 20s at 10/s", n)
		}
		both[0].end(t)
	})
}

func TestAPauseAndAHoldReachEveryWorker(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box := newBox()
		shared := &commons{box: box}
		providers := [2]*provider{{}, {}}
		var refuses atomic.Bool
		for _, p := range providers {
			p.deliver = func(context.Context, *outbox.Intent, int) error {
				if refuses.Load() {
					return &outbox.Failure{Class: outbox.Hold, Code: outbox.CodeUnauthorized}
				}
				return nil
			}
		}
		both := two(t, box, shared, func(i int) dispatcher.Lane { return laneOf("sms", providers[i]) })
		_ = shared.change("sms", func(s *outbox.LaneState) { s.Paused, s.Why = true, "maintenance" })
		<-time.After(1100 * time.Millisecond)
		box.insert(t, "sms", nil)
		<-time.After(time.Minute)
		if n := len(providers[0].made()) + len(providers[1].made()); n != 0 {
			t.Errorf("%d calls in a paused lane", n)
		}
		for _, r := range both {
			if s := r.Status()[0]; s.State != dispatcher.StatePaused || s.Why != "maintenance" {
				t.Errorf("status %+v", s)
			}
		}
		_ = shared.change("sms", func(s *outbox.LaneState) { s.Paused = false })
		<-time.After(1100 * time.Millisecond)
		box.want(t, "done", 1)

		refuses.Store(true)
		_ = shared.Hold(t.Context(), "sms", outbox.CodeUnauthorized)
		<-time.After(1100 * time.Millisecond)
		for range 10 {
			box.insert(t, "sms", nil)
		}
		<-time.After(30 * time.Second)
		box.want(t, "done", 1)
		refuses.Store(false)
		_ = shared.Unhold(t.Context(), "sms") // lane resume
		<-time.After(2 * time.Second)
		box.want(t, "done", 11)
		for _, r := range both {
			r.end(t)
		}
		if n := len(shared.workers); n != 0 {
			t.Errorf("%d workers in the registry after all have left", n)
		}
	})
}

func TestAnOpenBreakerMakesOthersProbe(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box, shared := newBox(), &commons{}
		p := &provider{deliver: takes(5 * time.Second)}
		lane := laneOf("sms", p)
		for range 100 {
			box.insert(t, "sms", nil)
		}
		_ = shared.Break(t.Context(), "sms", "another", 30*time.Second)
		r := start(t, dispatcher.Config{Store: box, Shared: shared, Lanes: []dispatcher.Lane{lane}})
		<-time.After(29 * time.Second)
		if n := p.peak(); n > 2 {
			t.Errorf("%d calls at once beside another's open breaker, want its 2 probes", n)
		}
		<-time.After(30 * time.Second)
		if n := p.peak(); n != 8 {
			t.Errorf("%d calls at once afterwards, want all 8 slots used", n)
		}
		r.end(t)
	})
}
