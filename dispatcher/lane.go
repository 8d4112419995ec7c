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
	poll         = time.Second           // how often a lane without work looks where no hints come, with jitter
	seldomPoll   = 15 * time.Second      // how often where they do
	busyPoll     = 10 * time.Millisecond // how soon a lane of a busy worker looks again, doubling to busyPollMost
	busyPollMost = 50 * time.Millisecond // while it finds nothing
	spreadHints  = time.Millisecond      // for each other worker, a hinted lane waits up to so long: one of them will do
	spreadMost   = 10 * time.Millisecond
	claimTimeout = 15 * time.Second       // of one claim
	claimBackoff = 250 * time.Millisecond // after a failed claim, doubling to claimMaxWait
	claimMaxWait = 5 * time.Second
	lingerFor    = 5 * time.Millisecond // a lane with a backlog waits so long for more slots, to claim in larger batches
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
	limiter  *rate.Limiter // nil: unlimited
	pace     *pace
	upcoming Upcoming       // nil: the lane looks every second
	wake     chan struct{}  // holds one hint
	planned  chan struct{}  // holds one hint that the agenda's first instant has changed
	attempts sync.WaitGroup // under way

	mu        sync.Mutex
	inFlight  int
	hungry    bool // a freed slot is worth a claim
	hinted    bool // a hint came since the last claim
	live      int  // workers that serve this kind, as far as is known
	agenda    agenda
	gate      gate
	hold      hold
	openUntil time.Time // the breaker's, while open
	shared    outbox.LaneState
	learned   bool      // shared was read at least once
	brokenFor time.Time // another worker's breaker is open until then
}

func newLane(cfg Lane, all Config, settler *settler, share *share, pace *pace) *lane {
	l := &lane{
		Lane: cfg, worker: all.Worker, store: all.Store, observer: all.Observer,
		log: all.Logger.With("kind", cfg.Kind), settler: settler, share: share, pace: pace, upcoming: all.Upcoming, wake: make(chan struct{}, 1), planned: make(chan struct{}, 1),
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
	failures, empty := 0, 0
	for stop.Err() == nil {
		n, wait := l.reserve(time.Now())
		if n == 0 {
			l.sleep(stop, wait)
			continue
		}
		if n < l.enough() && l.isHungry() {
			if n = l.linger(stop, n); n == 0 {
				continue
			}
		}
		l.giveWay(stop)
		claimed, err := l.claim(stop, abort, n)
		switch {
		case err != nil:
			if failures == 0 {
				l.log.Error("claiming failed; nothing is claimed until it works again", "err", err)
			}
			failures++
			l.pause(stop, backoff(claimBackoff, claimMaxWait, failures))
		case claimed < n:
			if busy, _, _ := l.pace.state(); busy && claimed > n/4 { // others may have taken the rest, and more may wait
				continue
			}
			l.setHungry(false)
			if empty++; claimed > 0 {
				empty = 0
			}
			l.rest(stop, empty)
		default:
			l.setHungry(true)
		}
		if err == nil && failures > 0 {
			l.log.Info("claiming works again", "failures", failures)
			failures = 0
		}
	}
}

// enough is how many free slots a claim of a lane with a backlog should have.
func (l *lane) enough() int { return l.Concurrency * 3 / 4 }

// linger waits for a moment until most of the slots are free, so that claims are large, and returns how many may be claimed.
func (l *lane) linger(stop context.Context, n int) int {
	timer := time.NewTimer(lingerFor)
	defer timer.Stop()
	for n < l.enough() {
		select {
		case <-timer.C:
			return n
		case <-stop.Done():
			return n
		case <-l.wake:
		}
		if n, _ = l.reserve(time.Now()); n == 0 {
			return 0
		}
	}
	return n
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
	l.agenda.pass(sent)
	l.hinted = false
	spread := l.live
	l.mu.Unlock()
	l.pace.ask()
	intents, err := l.store.Claim(ctx, outbox.ClaimOrder{Kind: l.Kind, Limit: n, Lease: l.Lease, Owner: l.worker, Spread: spread})
	l.pace.note(len(intents))
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

// hint wakes the lane for intents that have come.
func (l *lane) hint() {
	l.mu.Lock()
	l.hinted = true
	l.mu.Unlock()
	l.wakeUp()
}

// giveWay lets another worker take what a hint told all of them of: whoever comes first claims, the others find nothing.
func (l *lane) giveWay(stop context.Context) {
	l.mu.Lock()
	others := l.live - 1
	hinted := l.hinted
	l.mu.Unlock()
	if hinted && others > 0 {
		l.pause(stop, rand.N(min(time.Duration(others)*spreadHints, spreadMost)))
	}
}

// What ends a sleep.
type awakening int

const (
	byTime awakening = iota
	byHint
	byPlan
)

// sleep returns after d, when woken, when there is something new on the agenda, or when stop ends.
func (l *lane) sleep(stop context.Context, d time.Duration) awakening {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.wake:
		return byHint
	case <-l.planned:
		return byPlan
	case <-stop.Done():
	}
	return byTime
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

// backoff returns the wait after the nth failure in a row, from 1: half of it fixed, half jitter.
func backoff(base, most time.Duration, n int) time.Duration {
	bound := min(base<<min(n-1, 16), most)
	return bound/2 + rand.N(bound/2+1)
}
