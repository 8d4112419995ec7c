package live

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/outboxd/outboxd/admin"
	"github.com/outboxd/outboxd/internal/timing"
)

// stream is one who listens. What was not yet taken is kept once, however often it happened: a slow client holds up
// nobody and costs no memory.
type stream struct {
	intents map[string]bool
	more    timing.Signal
	over    chan struct{} // closed by the hub

	mu      sync.Mutex
	waiting map[admin.Event]bool
}

// Subscribe begins a stream of a person, about the intents named beside everything else. next waits for events until
// its context ends; its error is then the context's, or [admin.ErrStreamOver]. The caller ends the stream by leave.
func (h *Hub) Subscribe(who string, intents []string) (next func(context.Context) ([]admin.Event, error), leave func(), err error) {
	s := &stream{intents: make(map[string]bool), more: timing.NewSignal(), over: make(chan struct{}), waiting: make(map[admin.Event]bool)}
	for _, name := range intents[:min(len(intents), MaxIntents)] {
		s.intents[name] = true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.over:
		return nil, nil, admin.ErrStreamOver
	case len(h.streams) >= MaxStreams, h.of[who] >= MaxOfOne:
		return nil, nil, admin.ErrManyStreams
	}
	h.streams[s] = struct{}{}
	h.of[who]++
	h.wake.Send()
	return s.next, sync.OnceFunc(func() { h.leave(who, s) }), nil
}

func (h *Hub) leave(who string, s *stream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.streams, s)
	if h.of[who]--; h.of[who] == 0 {
		delete(h.of, who)
	}
}

// tell is called under the hub's lock.
func (s *stream) tell(e admin.Event) {
	if e.What == admin.EventIntent && !s.intents[e.Name] {
		return
	}
	s.mu.Lock()
	s.waiting[e] = true
	s.mu.Unlock()
	s.more.Send()
}

func (s *stream) next(ctx context.Context) ([]admin.Event, error) {
	select {
	case <-s.over:
		return nil, admin.ErrStreamOver
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-s.more:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	events := slices.SortedFunc(maps.Keys(s.waiting), func(a, b admin.Event) int {
		return strings.Compare(a.What+a.Name, b.What+b.Name)
	})
	clear(s.waiting)
	return events, nil
}
