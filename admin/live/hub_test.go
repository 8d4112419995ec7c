package live_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outboxd/outboxd/admin"
	"github.com/outboxd/outboxd/admin/live"
	"github.com/outboxd/outboxd/outbox"
)

// source is a database whose contents the test changes.
type source struct {
	admin.State
	admin.Reader
	asked  atomic.Int64
	mu     sync.Mutex
	census time.Time
	lanes  map[string]outbox.LaneState
	jobs   []outbox.Job
	intent map[string]any
}

func (s *source) Census(context.Context) (outbox.Census, error) {
	s.asked.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	return outbox.Census{At: s.census}, nil
}

func (s *source) Lanes(context.Context) (map[string]outbox.LaneState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lanes, nil
}

func (s *source) newest(context.Context, int) ([]outbox.Job, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.jobs, nil
}

func (s *source) Look(_ context.Context, name string) (outbox.Snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return outbox.Snapshot{Intent: &outbox.Intent{Document: s.intent}, Name: name}, nil
}

func (s *source) change(f func(*source)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}

// others is the rest of what keeps jobs, of which a hub asks nothing.
type others interface{ admin.Jobs }

type keeper struct {
	others
	of *source
}

func (k keeper) Jobs(ctx context.Context, n int) ([]outbox.Job, error) { return k.of.newest(ctx, n) }

// run runs a hub until the function returned is called.
func run(t *testing.T) (*live.Hub, *source, func()) {
	s := &source{intent: map[string]any{"n": 0}}
	h := live.New(live.Config{State: s, Jobs: keeper{of: s}, Reader: s, Logger: slog.New(slog.DiscardHandler)})
	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() { h.Run(ctx) })
	return h, s, func() { stop(); group.Wait() }
}

func take(t *testing.T, next func(context.Context) ([]admin.Event, error)) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*live.Every)
	defer cancel()
	events, err := next(ctx)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range events {
		names = append(names, e.What+e.Name)
	}
	return names
}

func TestHubTellsWhatChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, s, stop := run(t)
		defer stop()
		time.Sleep(time.Hour)
		if n := s.asked.Load(); n != 0 {
			t.Errorf("asked %d times while nobody listened", n)
		}
		one, leave, err := h.Subscribe("ann", []string{"a"})
		if err != nil {
			t.Fatal(err)
		}
		two, leaveToo, err := h.Subscribe("bob", []string{"b"})
		if err != nil {
			t.Fatal(err)
		}
		if got := take(t, one); got != nil {
			t.Errorf("told %v before anything changed", got)
		}
		s.change(func(s *source) { s.census = time.Unix(1, 0) })
		if a, b := take(t, one), take(t, two); !slices.Equal(a, []string{"census"}) || !slices.Equal(b, a) {
			t.Errorf("a new census: %v, %v", a, b)
		}
		s.change(func(s *source) {
			s.lanes = map[string]outbox.LaneState{"sms": {Paused: true}}
			s.jobs = []outbox.Job{{ID: "j"}}
			s.intent = map[string]any{"n": 1}
		})
		time.Sleep(10 * live.Every) // a client that takes nothing meanwhile
		if a, b := take(t, one), take(t, two); !slices.Equal(a, []string{"intenta", "jobs", "lanes"}) || !slices.Equal(b, []string{"intentb", "jobs", "lanes"}) {
			t.Errorf("several changes: %v, %v", a, b)
		}
		before := s.asked.Load()
		time.Sleep(10 * live.Every)
		if n := s.asked.Load() - before; n > 11 {
			t.Errorf("two streams cost %d questions", n)
		}
		leave()
		leaveToo()
		leaveToo() // twice is once
		time.Sleep(2 * live.Every)
		before = s.asked.Load()
		time.Sleep(time.Hour)
		if n := s.asked.Load() - before; n != 0 {
			t.Errorf("asked %d times after all have left", n)
		}
	})
}

func TestHubIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _, stop := run(t)
		var ends []func(context.Context) ([]admin.Event, error)
		for i := range live.MaxStreams {
			next, _, err := h.Subscribe(string(rune('a'+i/live.MaxOfOne)), nil)
			if err != nil {
				t.Fatal(i, err)
			}
			ends = append(ends, next)
		}
		if _, _, err := h.Subscribe("new", nil); !errors.Is(err, admin.ErrManyStreams) {
			t.Errorf("one more: %v", err)
		}
		stop()
		for _, next := range ends {
			if _, err := next(t.Context()); !errors.Is(err, admin.ErrStreamOver) {
				t.Errorf("after the end: %v", err)
			}
		}
		if _, _, err := h.Subscribe("late", nil); !errors.Is(err, admin.ErrStreamOver) {
			t.Errorf("after the end: %v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		h, _, stop := run(t)
		defer stop()
		var leave func()
		for range live.MaxOfOne {
			var err error
			if _, leave, err = h.Subscribe("ann", nil); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := h.Subscribe("ann", nil); !errors.Is(err, admin.ErrManyStreams) {
			t.Errorf("one more of one person: %v", err)
		}
		leave()
		if _, _, err := h.Subscribe("ann", nil); err != nil {
			t.Errorf("after one was closed: %v", err)
		}
	})
}
