package simulator

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
)

// ErrClosed is returned by the waiting methods when the Sim was closed before what they wait for.
var ErrClosed = errors.New("the simulator is closed")

// RequestCount is how often a route answered with a status.
type RequestCount struct {
	Provider string `json:"provider"`
	Route    string `json:"route"`
	Status   int    `json:"status"` // 0: the client got no answer
	Count    int    `json:"count"`
}

type routeKey struct{ provider, route string }

type answerKey struct {
	routeKey
	status int
}

// requestLog counts requests when they have been read and again when they were answered.
type requestLog struct {
	mu       sync.Mutex
	arrived  map[routeKey]int
	answered map[answerKey]int
}

func (l *requestLog) reset() {
	l.mu.Lock()
	l.arrived, l.answered = nil, nil
	l.mu.Unlock()
}

func (l *requestLog) arrive(provider, route string) {
	l.mu.Lock()
	if l.arrived == nil {
		l.arrived = map[routeKey]int{}
	}
	l.arrived[routeKey{provider, route}]++
	l.mu.Unlock()
}

func (l *requestLog) answer(provider, route string, status int) {
	l.mu.Lock()
	if l.answered == nil {
		l.answered = map[answerKey]int{}
	}
	l.answered[answerKey{routeKey{provider, route}, status}]++
	l.mu.Unlock()
}

func (l *requestLog) arrivals(provider, route string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for k, count := range l.arrived {
		if (provider == "" || k.provider == provider) && (route == "" || k.route == route) {
			n += count
		}
	}
	return n
}

// Requests is the number of answered requests per provider, route and status, sorted by these.
func (s *Sim) Requests() []RequestCount {
	s.requests.mu.Lock()
	out := make([]RequestCount, 0, len(s.requests.answered))
	for k, n := range s.requests.answered {
		out = append(out, RequestCount{Provider: k.provider, Route: k.route, Status: k.status, Count: n})
	}
	s.requests.mu.Unlock()
	slices.SortFunc(out, func(a, b RequestCount) int {
		return cmp.Or(cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Route, b.Route), cmp.Compare(a.Status, b.Status))
	})
	return out
}

// WaitRequests returns nil once n requests have arrived at the provider and route (any, where empty), answered or not;
// else the context's error, or [ErrClosed]. It is how a test knows that a call is in flight; one that a fault delays or
// hangs has arrived, and holds its idempotency key.
func (s *Sim) WaitRequests(ctx context.Context, provider, route string, n int) error {
	return s.bell.wait(ctx, s.done, func() bool { return s.requests.arrivals(provider, route) >= n })
}

// bell wakes those who wait for a condition; ringing it costs one atomic load while nobody waits.
type bell struct {
	waiters atomic.Int64
	mu      sync.Mutex
	ch      chan struct{}
}

// ring must be called after the change that may have made a condition true.
func (b *bell) ring() {
	if b.waiters.Load() == 0 {
		return
	}
	b.mu.Lock()
	close(b.ch)
	b.ch = make(chan struct{})
	b.mu.Unlock()
}

func (b *bell) wait(ctx context.Context, done <-chan struct{}, ok func() bool) error {
	b.waiters.Add(1)
	defer b.waiters.Add(-1)
	for {
		b.mu.Lock()
		ch := b.ch
		b.mu.Unlock()
		if ok() {
			return nil
		}
		select {
		case <-ch:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-done:
			return ErrClosed
		}
	}
}
