package dispatcher

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/outboxd/outboxd/internal/timing"
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
	gatherFor    = 5 * time.Millisecond // a lane with a backlog waits so long for more slots, to claim in larger batches
)

// lane serves one kind. One goroutine claims, a second one in a backlog; each slot is a goroutine.
type lane struct {
	Lane
	worker   string
	store    Store
	observer Observer
	tracer   Tracer // nil: no spans
	log      *slog.Logger
	settler  *settler
	peers    *peers
	breaker  *gobreaker.TwoStepCircuitBreaker[struct{}]
	limiter  *rate.Limiter // nil: unlimited
	workload *workload
	upcoming Upcoming      // nil: the lane looks every second
	wake     timing.Signal // there is a hint, or a slot is free
	planned  timing.Signal // the schedule's first instant has changed
	more     timing.Signal // the lane has a backlog
	queue    chan claimed  // what waits for a slot

	namedUnderWay chan struct{} // one for each claim of named intents

	mu         sync.Mutex
	inFlight   int           // claimed, and not handed over
	bytes      int           // the size of those
	asked      int           // slots kept for claims under way
	backlogged bool          // a freed slot is worth a claim
	turn       time.Time     // when the next claim is due, while the lane is busy and has no backlog
	took       time.Duration // by the last claim
	hinted     bool          // a hint came since the last claim
	named      []outbox.ID   // what the hints since the last claim named, unless
	wide       bool          // there was one that named nothing, or there were many
	live       int           // workers that serve this kind, as far as is known
	schedule   schedule
	callRate   callRate
	moved      time.Time // when a slot last took something from the queue
	gate       gate
	hold       hold
	away       away
	avoided    avoided
	lookUps    gate      // look-ups have one of their own
	asking     int       // look-ups in flight
	passedAt   time.Time // the database's time when the last call that passed was begun
	answeredAt time.Time // and when the provider last answered anything
	openUntil  time.Time // the breaker's, while open
	shared     outbox.LaneState
	learned    bool      // shared was read at least once
	brokenFor  time.Time // another worker's breaker is open until then
}

func newLane(cfg Lane, all Config, settler *settler, peers *peers, workload *workload) *lane {
	l := &lane{
		Lane: cfg, worker: all.Worker, store: all.Store, observer: all.Observer, tracer: all.Tracer,
		log: all.Logger.With("kind", cfg.Kind), settler: settler, peers: peers, workload: workload, upcoming: all.Upcoming,
		wake: timing.NewSignal(), planned: timing.NewSignal(), more: timing.NewSignal(),
	}
	l.queue = make(chan claimed, 2*l.Concurrency)
	l.namedUnderWay = make(chan struct{}, namedClaims)
	l.breaker = newBreaker(cfg.Breaker, cfg.Kind, l.breakerChanged)
	if cfg.Rate > 0 {
		l.limiter = rate.NewLimiter(rate.Limit(cfg.Rate), max(1, int(cfg.Rate)))
	}
	return l
}

// run claims until stop ends, and returns when every attempt has handed over its outcome.
func (l *lane) run(stop, abort context.Context) {
	var slots, second, named sync.WaitGroup
	for range l.Concurrency {
		slots.Go(func() { l.serve(stop, abort) })
	}
	defer slots.Wait()
	defer close(l.queue)
	defer named.Wait()
	defer second.Wait()
	second.Go(func() { l.claimSecond(stop) })
	failures, empty := 0, 0
	rested := false // the lane had nothing to do before a hint came
	for stop.Err() == nil {
		n, wait := l.reserve(time.Now())
		if n == 0 {
			rested = false
			l.giveBack(stop, abort)
			l.sleep(stop, wait)
			continue
		}
		backlog, most := l.backlog()
		if backlog {
			if n = min(l.gatherSlots(stop, n, enough(most)), most); n == 0 {
				continue
			}
		}
		l.yieldHint(stop)
		if rested && len(l.namedUnderWay) > 0 {
			_ = timing.Sleep(stop, mergeHints) // hints wait
		}
		if l.spaceClaims(stop) {
			n = min(n, most)
		}
		if stop.Err() != nil { // it would only give back what it claimed
			return
		}
		if only := l.hints(rested, n); only != nil {
			l.claimNamed(stop, only, &named)
			rested = l.rest(stop, 0)
			continue
		}
		rested = false
		got, all, err := l.claim(stop, n)
		switch {
		case err != nil:
			if failures == 0 {
				l.log.Error("claiming failed; nothing is claimed until it works again", "err", err)
			}
			failures++
			_ = timing.Sleep(stop, timing.Backoff(claimBackoff, claimMaxWait, failures)) // hints wait
		case !all:
			l.setBacklogged(false)
			if busy, _, _ := l.workload.state(); busy && got > 0 { // more comes, or others took the rest
				if got >= worthSecond {
					l.startSecond()
				}
				continue
			}
			if empty++; got > 0 {
				empty = 0
			}
			rested = l.rest(stop, empty)
		default:
			l.setBacklogged(true)
		}
		if err == nil && failures > 0 {
			l.log.Info("claiming works again", "failures", failures)
			failures = 0
		}
	}
}

// A lane with many slots and a backlog has two claims under way, each of at most half of what it may claim: while the
// database works on one, what the other has claimed is delivered and settled.
const pairedFrom = 64 // slots

// paired reports whether the lane may have two claims under way. One with a rate limit never waits for claims.
func (l *lane) paired() bool { return l.Concurrency >= pairedFrom && l.limiter == nil }

// most is how many intents a claim in a backlog takes at most.
func (l *lane) most(ahead int) int {
	if l.paired() {
		return min(l.Concurrency, (l.Concurrency+ahead+1)/2)
	}
	return l.Concurrency
}

// startSecond has a second claim made, if there is none under way.
func (l *lane) startSecond() {
	if l.paired() {
		l.more.Send()
	}
}

// claimSecond makes the second claim of a lane with a backlog, until stop ends. What fails here fails in the first one
// as well, which tells.
func (l *lane) claimSecond(stop context.Context) {
	for {
		select {
		case <-stop.Done():
			return
		case <-l.more:
		}
		turns := l.spaceClaims(stop)
		if n := l.roomForSecond(time.Now(), turns); n > 0 && stop.Err() == nil {
			_, _, _ = l.claim(stop, n)
		}
	}
}

// worthSecond is how many intents a claim of a busy lane without a backlog finds if a second one is worth while.
const worthSecond = 8

// How long after one such claim the next one is sent: half as long as the last took, within bounds. One that a failover
// made long says nothing about the next.
const (
	claimSpacing     = 25 * time.Millisecond
	claimSpacingMost = 250 * time.Millisecond
)

// spaceClaims waits until the next claim of a busy lane without a backlog is due, and reports whether the lane is one:
// while the database works on one claim, the next one finds what has come since, and not the same.
func (l *lane) spaceClaims(stop context.Context) bool {
	busy, _, _ := l.workload.state()
	now := time.Now()
	l.mu.Lock()
	turns := busy && !l.backlogged
	at := now
	if turns && l.turn.After(now) {
		at = l.turn
	}
	l.turn = at.Add(min(max(claimSpacing, l.took/2), claimSpacingMost))
	l.mu.Unlock()
	_ = timing.Sleep(stop, at.Sub(now)) // hints wait
	return turns
}

// enough is how many slots should be free for a claim of so many in a lane with a backlog.
func enough(most int) int { return most * 3 / 4 }

// gatherSlots waits for a moment until most of the slots are free, so that claims are large, and returns how many may
// be claimed.
func (l *lane) gatherSlots(stop context.Context, n, enough int) int {
	if n >= enough {
		return n
	}
	timer := time.NewTimer(gatherFor)
	defer timer.Stop()
	for n < enough {
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

// mostNamed bounds how many intents hints may name before the lane looks for whatever is due, and namedClaims how many
// claims of named intents are under way at once. They take different intents, so that none waits for another.
const (
	mostNamed   = 64
	namedClaims = 2
	mergeHints  = time.Millisecond
)

// claimNamed claims the named intents, for which there is room, beside what the lane does next. It waits while as many
// such claims are under way as there may be.
func (l *lane) claimNamed(stop context.Context, only []outbox.ID, named *sync.WaitGroup) {
	order, as, _ := l.order(time.Now(), len(only), only)
	l.namedUnderWay <- struct{}{}
	named.Go(func() {
		defer func() { <-l.namedUnderWay }()
		if _, err := l.carryOut(stop, order, as); err != nil {
			l.hint() // whoever looks for whatever is due meets the same, tells it, and slows down
		}
	})
}

// hint wakes the lane for intents that have come.
func (l *lane) hint() {
	l.mu.Lock()
	l.hinted, l.wide, l.named = true, true, nil
	l.mu.Unlock()
	l.wake.Send()
}

// hintFor wakes the lane for an intent that has come.
func (l *lane) hintFor(id outbox.ID) {
	l.mu.Lock()
	l.hinted = true
	if !l.wide {
		if l.named = append(l.named, id); len(l.named) > mostNamed {
			l.wide, l.named = true, nil
		}
	}
	l.mu.Unlock()
	l.wake.Send()
}

// hints takes the hints there are, and returns what they named if nothing else is to be looked for: the lane has
// rested, and there is room for all.
func (l *lane) hints(rested bool, room int) []outbox.ID {
	l.mu.Lock()
	defer l.mu.Unlock()
	named := l.named
	if !rested || l.wide || l.probing() || len(named) > room || len(named) == 0 {
		named = nil
	}
	l.hinted, l.wide, l.named = false, false, nil
	return named
}

// yieldHint lets another worker take what a hint told all of them of: whoever comes first claims, the others find
// nothing.
func (l *lane) yieldHint(stop context.Context) {
	l.mu.Lock()
	others := l.live - 1
	hinted := l.hinted
	l.mu.Unlock()
	if hinted && others > 0 {
		_ = timing.Sleep(stop, rand.N(min(time.Duration(others)*spreadHints, spreadMost)))
	}
}

// What ends a sleep.
type awakening int

const (
	byTime awakening = iota
	byHint
	byPlan
)

// sleep returns after d, when woken, when there is something new on the schedule, or when stop ends.
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

// backlog reports whether the lane has one, as far as is known, and how many intents a claim then takes at most.
func (l *lane) backlog() (backlogged bool, most int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.backlogged, l.most(l.ahead(time.Now()))
}

func (l *lane) setBacklogged(backlogged bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.backlogged = backlogged
}
