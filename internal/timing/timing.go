// Package timing holds the few things about waiting that every package needs: a sleep that a context ends, jitter,
// backoff, and a signal that merges.
//
// All of it is safe for concurrent use. Durations are of the local monotonic clock.
package timing

import (
	"context"
	"math/rand/v2"
	"time"
)

// Sleep returns nil after d, or the context's cause when ctx ends before. It does not wait if d is 0 or below, but
// still returns the cause of a context that has ended.
func Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return context.Cause(ctx)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// Jitter returns a duration from three quarters to five quarters of d, d on average. Processes that do the same thing
// every d then do it at different times.
func Jitter(d time.Duration) time.Duration { return d - d/4 + upTo(d/2) }

// AtLeast returns a duration from d to five quarters of d, for a wait that must not be shorter than d.
func AtLeast(d time.Duration) time.Duration { return d + upTo(d/4) }

// Backoff returns the wait after the nth failure in a row, n from 1. The bound is first, doubled with each further
// failure, at most most. The wait is half of the bound and a random part of the other half.
func Backoff(first, most time.Duration, n int) time.Duration {
	bound := first
	for i := 1; i < n && bound < most; i++ {
		bound *= 2
	}
	bound = min(bound, most)
	return bound/2 + upTo(bound-bound/2)
}

// upTo returns a random duration from 0 to d.
func upTo(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d + 1)
}

// Signal tells one goroutine that something has changed. Signals that nobody has received yet merge into one.
type Signal chan struct{}

// NewSignal returns a signal that was not sent.
func NewSignal() Signal { return make(Signal, 1) }

// Send sends the signal. It never blocks.
func (s Signal) Send() {
	select {
	case s <- struct{}{}:
	default: // one is waiting already
	}
}
