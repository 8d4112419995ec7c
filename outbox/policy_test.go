package outbox

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestBackoffBoundDoublesUpToTheCap(t *testing.T) {
	rows := []struct {
		base, most time.Duration
		attempt    int
		want       time.Duration
	}{
		{2 * time.Second, 15 * time.Minute, 1, 2 * time.Second},
		{2 * time.Second, 15 * time.Minute, 2, 4 * time.Second},
		{2 * time.Second, 15 * time.Minute, 3, 8 * time.Second},
		{2 * time.Second, 15 * time.Minute, 9, 512 * time.Second},
		{2 * time.Second, 15 * time.Minute, 10, 15 * time.Minute},
		{2 * time.Second, 15 * time.Minute, 100, 15 * time.Minute},
		{2 * time.Second, 8 * time.Second, 3, 8 * time.Second},
		{1, 3, 2, 2}, // an odd cap is not reached early
		{1, 3, 3, 3},
		{time.Minute, time.Second, 1, time.Second},
		{2 * time.Second, time.Minute, 0, 2 * time.Second},
		{2 * time.Second, time.Minute, math.MinInt, 2 * time.Second},
		{1, math.MaxInt64, 100, math.MaxInt64},
		{math.MaxInt64, math.MaxInt64, 2, math.MaxInt64},
		{0, time.Minute, math.MaxInt, 0},
		{-time.Second, time.Minute, 5, 0},
		{time.Second, -time.Minute, 5, 0},
	}
	for _, r := range rows {
		if got := (RetryPolicy{Base: r.base, Max: r.most}).Bound(r.attempt); got != r.want {
			t.Errorf("base %v, max %v: the bound after attempt %d is %v, want %v", r.base, r.most, r.attempt, got, r.want)
		}
	}
}

func TestBackoffIsFullJitter(t *testing.T) {
	p := RetryPolicy{Base: 2 * time.Second, Max: 15 * time.Minute}
	const n, buckets = 20_000, 10
	for _, attempt := range []int{1, 4, 12} {
		var count [buckets]int
		bound := p.Bound(attempt)
		for i := range n {
			wait := p.Backoff(attempt, "order-"+itoa(i))
			if wait < 0 || wait >= bound {
				t.Fatalf("attempt %d: a backoff of %v is outside of 0 to %v", attempt, wait, bound)
			}
			count[int(wait*buckets/bound)]++
		}
		for i, c := range count {
			if c < n/buckets*9/10 || c > n/buckets*11/10 {
				t.Errorf("attempt %d: %d of %d backoffs are in tenth %d of the range", attempt, c, n, i)
			}
		}
	}
}

func TestBackoffIsAFunctionOfSeedAndAttempt(t *testing.T) {
	p := RetryPolicy{Base: time.Minute, Max: time.Minute}
	wait := p.Backoff(3, "a")
	if again := p.Backoff(3, "a"); again != wait {
		t.Error("the same attempt of the same intent waits differently")
	}
	if p.Backoff(3, "b") == wait || p.Backoff(4, "a") == wait {
		t.Error("another intent or attempt waits in step")
	}
	for _, p := range []RetryPolicy{{Base: math.MaxInt64, Max: math.MaxInt64}, {Base: -1, Max: -1}, {}} {
		for i := range 1000 {
			if got := p.Backoff(i, "a"); got < 0 {
				t.Fatalf("%+v: a backoff of %v", p, got)
			}
		}
	}
}

func TestPolicyValidate(t *testing.T) {
	if err := testPolicy(Reconcile, false).Validate(); err != nil {
		t.Errorf("a good policy is refused: %v", err)
	}
	broken := map[string]func(*Policy){
		"retry.max_attempts is 0,":      func(p *Policy) { p.Retry.MaxAttempts = 0 },
		"retry.max_attempts is 101,":    func(p *Policy) { p.Retry.MaxAttempts = 101 },
		"retry.base is 0s,":             func(p *Policy) { p.Retry.Base = 0 },
		"retry.max is 1s,":              func(p *Policy) { p.Retry.Max = time.Second },
		`on_ambiguous is "give up",`:    func(p *Policy) { p.OnAmbiguous = "give up" },
		"reconcile.wait is -1s,":        func(p *Policy) { p.Reconcile.Wait = -time.Second },
		"reconcile.interval is 1ms,":    func(p *Policy) { p.Reconcile.Interval = time.Millisecond },
		"reconcile.absent_after is 1s,": func(p *Policy) { p.Reconcile.AbsentAfter = time.Second },
		"reconcile.give_up is 1m0s,":    func(p *Policy) { p.Reconcile.GiveUp = time.Minute },
	}
	for want, breakIt := range broken {
		p := testPolicy(Reconcile, false)
		breakIt(&p)
		if err := p.Validate(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v, want %q alone", err, want)
		}
	}
	if err := (Policy{}).Validate(); strings.Count(err.Error(), "\n") != 3 {
		t.Errorf("an empty policy does not list all its problems at once: %v", err)
	}
}
