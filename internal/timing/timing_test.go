package timing_test

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outboxd/outboxd/internal/timing"
)

func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if err := timing.Sleep(t.Context(), time.Minute); err != nil || time.Since(began) != time.Minute {
			t.Errorf("slept %v and returned %v, want a minute and nil", time.Since(began), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began = time.Now()
		if err := timing.Sleep(ctx, time.Minute); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("slept %v and returned %v, want a second and the context's error", time.Since(began), err)
		}
		if err := timing.Sleep(ctx, -time.Second); err == nil {
			t.Error("no error from a context that has ended")
		}
		if err := timing.Sleep(t.Context(), 0); err != nil {
			t.Errorf("a sleep of 0 returned %v", err)
		}
	})
}

func TestRanges(t *testing.T) {
	const d, tries = 1000, 20_000
	for name, c := range map[string]struct {
		draw        func() time.Duration
		least, most time.Duration
	}{
		"jitter is a quarter either way":        {func() time.Duration { return timing.Jitter(d) }, 750, 1250},
		"at least is never shorter":             {func() time.Duration { return timing.AtLeast(d) }, 1000, 1250},
		"the first backoff":                     {func() time.Duration { return timing.Backoff(d, time.Hour, 1) }, 500, 1000},
		"a backoff before any failure":          {func() time.Duration { return timing.Backoff(d, time.Hour, 0) }, 500, 1000},
		"the third backoff":                     {func() time.Duration { return timing.Backoff(d, time.Hour, 3) }, 2000, 4000},
		"a backoff at its bound":                {func() time.Duration { return timing.Backoff(d, 3000, 3) }, 1500, 3000},
		"the bound holds for the first as well": {func() time.Duration { return timing.Backoff(d, 600, 1) }, 300, 600},
		"a backoff after very many failures":    {func() time.Duration { return timing.Backoff(d, 3000, math.MaxInt) }, 1500, 3000},
		"nothing of nothing":                    {func() time.Duration { return timing.Jitter(0) + timing.Backoff(0, 0, 3) }, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			least, most := c.draw(), c.draw()
			for range tries {
				got := c.draw()
				least, most = min(least, got), max(most, got)
			}
			slack := (c.most - c.least) / 20
			if least < c.least || most > c.most {
				t.Errorf("drew %d to %d, want within %d to %d", least, most, c.least, c.most)
			}
			if least > c.least+slack || most < c.most-slack {
				t.Errorf("drew only %d to %d of %d to %d", least, most, c.least, c.most)
			}
		})
	}
}

func TestSignalMerges(t *testing.T) {
	s := timing.NewSignal()
	s.Send()
	s.Send()
	<-s
	select {
	case <-s:
		t.Error("two signals did not merge")
	default:
	}
}
