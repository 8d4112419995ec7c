package dispatcher

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/outboxd/outboxd/outbox"
	"github.com/sony/gobreaker/v2"
	"golang.org/x/time/rate"
)

const (
	poll         = time.Second            // how often an idle lane looks without any hint, with jitter
	claimTimeout = 15 * time.Second       // of one claim
	claimBackoff = 250 * time.Millisecond // after a failed claim, doubling to claimMaxWait
	claimMaxWait = 5 * time.Second
	linger       = 5 * time.Millisecond // a lane with a backlog waits so long for more slots, to claim in larger batches
)

// lane serves one kind. One goroutine claims; each intent claimed has one goroutine until its outcome is handed over.
type lane struct {
	Lane
	worker   string
	store    Store
	observer Observer
	log      *slog.Logger
	settler  *settler
	share    *share
	breaker  *gobreaker.TwoStepCircuitBreaker[struct{}]
	limiter  *rate.Limiter  // nil: unlimited
	wake     chan struct{}  // holds one hint
	attempts sync.WaitGroup // under way

	mu        sync.Mutex
	inFlight  int
	hungry    bool      // a freed slot is worth a claim
	due       time.Time // the earliest instant at which an intent that this lane settled is due again
	gate      gate
	hold      hold
	openUntil time.Time // the breaker's, while open
	shared    outbox.LaneState
	learned   bool      // shared was read at least once
	brokenFor time.Time // another worker's breaker is open until then
}

func newLane(cfg Lane, all Config, settler *settler, share *share) *lane {
	l := &lane{
		Lane: cfg, worker: all.Worker, store: all.Store, observer: all.Observer,
		log: all.Logger.With("kind", cfg.Kind), settler: settler, share: share, wake: make(chan struct{}, 1),
	}
	l.breaker = newBreaker(cfg.Breaker, cfg.Kind, l.breakerChanged)
	if cfg.Rate > 0 {
		l.limiter = rate.NewLimiter(rate.Limit(cfg.Rate), max(1, int(cfg.Rate)))
	}
	return l
}

// run claims until stop ends, and returns when every attempt has handed over its outcome.
func (l *lane) run(stop, abort context.Context) {
	defer l.attempts.Wait()
	failures, lingered := 0, false
	for stop.Err() == nil {
		n, wait := l.reserve(time.Now())
		if n == 0 {
			l.sleep(stop, wait)
			continue
		}
		if l.isHungry() && n < l.Concurrency/4 && !lingered {
			lingered = true
			l.sleep(stop, linger)
			continue
		}
		lingered = false
		claimed, err := l.claim(stop, abort, n)
		switch {
		case err != nil:
			if failures == 0 {
				l.log.Error("claiming failed; nothing is claimed until it works again", "err", err)
			}
			failures++
			l.pause(stop, backoff(claimBackoff, claimMaxWait, failures))
		case claimed < n:
			l.setHungry(false)
			l.sleep(stop, l.untilDue(time.Now()))
		default:
			l.setHungry(true)
		}
		if err == nil && failures > 0 {
			l.log.Info("claiming works again", "failures", failures)
			failures = 0
		}
	}
}

// reserve returns how many intents may be claimed now; if none, how long to wait at most unless woken.
func (l *lane) reserve(now time.Time) (n int, wait time.Duration) {
	state, calls := l.breaker.State(), l.breaker.Counts() // not under our lock: it may call breakerChanged
	l.mu.Lock()
	defer l.mu.Unlock()
	n = l.Concurrency - l.inFlight
	switch {
	case n <= 0:
		l.hungry = true
		return 0, poll
	case l.shared.Paused:
		return 0, poll
	case l.gate.shut(now):
		return 0, l.gate.until.Sub(now)
	case l.hold.on():
		if now.Before(l.hold.probe) || l.inFlight > 0 {
			return 0, min(poll, max(time.Millisecond, l.hold.probe.Sub(now)))
		}
		return 1, 0
	case state == gobreaker.StateOpen:
		return 0, max(time.Millisecond, l.openUntil.Sub(now))
	case state == gobreaker.StateHalfOpen || now.Before(l.brokenFor):
		n = min(n, l.Breaker.Probes-l.inFlight)
		if state == gobreaker.StateHalfOpen { // it counts probes that have succeeded as well, until the last one has ended
			n = min(n, l.Breaker.Probes-int(calls.Requests-calls.TotalExclusions))
		}
		if n <= 0 {
			l.hungry = true
			return 0, poll
		}
	}
	if l.limiter != nil {
		tokens := l.limiter.TokensAt(now)
		if tokens < 1 {
			return 0, max(time.Millisecond, time.Duration((1-tokens)/float64(l.limiter.Limit())*float64(time.Second)))
		}
		n = min(n, int(tokens))
	}
	return n, 0
}

// claim leases up to n intents and begins their attempts. It is not cut short by stop: a claim whose answer nobody
// reads would hold its intents until the lease runs out.
func (l *lane) claim(stop, abort context.Context, n int) (int, error) {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(stop), claimTimeout, fmt.Errorf("claiming took longer than %v", claimTimeout))
	defer cancel()
	sent := time.Now()
	l.mu.Lock()
	l.hold.probe = sent.Add(probeEvery)
	l.mu.Unlock()
	intents, err := l.store.Claim(ctx, outbox.ClaimOrder{Kind: l.Kind, Limit: n, Lease: l.Lease, Owner: l.worker})
	l.observer.Claimed(l.Kind, len(intents), time.Since(sent), err)
	if err != nil {
		return 0, fmt.Errorf("claiming up to %d intents of kind %s: %w", n, l.Kind, err)
	}
	if l.limiter != nil {
		l.limiter.AllowN(time.Now(), len(intents))
	}
	l.mu.Lock()
	l.inFlight += len(intents)
	l.mu.Unlock()
	for _, in := range intents {
		l.attempts.Go(func() {
			defer l.release()
			l.attempt(stop, abort, in, fence{sent: sent, within: l.Lease - l.Timeout - fenceMargin})
		})
	}
	return len(intents), nil
}

// release frees a slot.
func (l *lane) release() {
	l.mu.Lock()
	l.inFlight--
	hungry := l.hungry
	l.mu.Unlock()
	if hungry {
		l.wakeUp()
	}
}

func (l *lane) wakeUp() {
	select {
	case l.wake <- struct{}{}:
	default: // a hint is waiting already
	}
}

// sleep returns after d, when woken, or when stop ends.
func (l *lane) sleep(stop context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.wake:
	case <-stop.Done():
	}
}

// pause returns after d or when stop ends; hints wait.
func (l *lane) pause(stop context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-stop.Done():
	}
}

func (l *lane) isHungry() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hungry
}

func (l *lane) setHungry(hungry bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hungry = hungry
}

// dueIn notes that an intent is due again after d.
func (l *lane) dueIn(d time.Duration) {
	at := time.Now().Add(d)
	l.mu.Lock()
	sooner := l.due.IsZero() || at.Before(l.due)
	if sooner {
		l.due = at
	}
	l.mu.Unlock()
	if sooner && d < poll {
		l.wakeUp() // the lane may have gone to sleep for longer
	}
}

// untilDue returns how long an idle lane may sleep: to the next instant it knows of, but no longer than a poll.
func (l *lane) untilDue(now time.Time) time.Duration {
	jittered := poll*3/4 + rand.N(poll/2)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.due.IsZero() {
		return jittered
	}
	left := l.due.Sub(now)
	if left <= 0 { // it was in the claim just made, or is about to be
		l.due = time.Time{}
		return time.Millisecond
	}
	return min(jittered, left)
}

// backoff returns the wait after the nth failure in a row, from 1: half of it fixed, half jitter.
func backoff(base, most time.Duration, n int) time.Duration {
	bound := min(base<<min(n-1, 16), most)
	return bound/2 + rand.N(bound/2+1)
}
