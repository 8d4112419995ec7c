package dispatcher

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outboxd/outboxd/dispatcher/internal/schedule"
	"github.com/outboxd/outboxd/internal/timing"
	"github.com/outboxd/outboxd/outbox"
	"github.com/sony/gobreaker/v2"
	"golang.org/x/time/rate"
)

// hintsKept is how many hints wait for a lane's owner. Where more come at once, it looks for whatever is due.
const hintsKept = 256

// lane serves one kind. Its owner is the goroutine of run: claims, looks ahead and calls are goroutines that report to
// it. So nothing of what it knows is locked.
type lane struct {
	Lane
	worker   string
	store    Store
	observer Observer
	tracer   Tracer // nil: no spans
	log      *slog.Logger
	settler  *settler
	peers    *peers
	breaker  *gobreaker.TwoStepCircuitBreaker[struct{}] // its owner's: it calls breakerChanged
	limiter  *rate.Limiter                              // nil: unlimited. See setRate
	workload *workload
	upcoming Upcoming // nil: the lane looks every second

	hints   chan schedule.Hinted
	answers chan answer   // of claims and looks ahead
	ended   chan ended    // attempts
	told    chan told     // by other workers and people
	loaded  timing.Signal // the worker has become busy or calm
	slots   chan claimed  // to the slots. It never blocks
	over    chan struct{} // closed when run has ended
	view    atomic.Pointer[view]
	flying  atomic.Int64 // intents claimed, without those that wait for a slot

	// The rest is the owner's alone.
	state    *schedule.State
	beside   sync.WaitGroup // claims, looks ahead, and outcomes that wait for the settler
	asking   int            // of those, what reports an answer
	calling  int            // slots in use
	queue    []claimed      // for a slot
	gate     gate
	hold     hold
	away     away
	avoided  avoided
	lookUps  gate      // look-ups have one of their own
	passed   time.Time // the database's time when the last call that passed was begun
	answered time.Time // and when the provider last answered anything
	open     time.Time // the breaker opened, and lets probes through from then on
	shared   outbox.LaneState
	learned  bool      // shared was read at least once
	broken   time.Time // another worker's breaker is open until then
}

func newLane(cfg Lane, all Config, settler *settler, peers *peers, workload *workload) *lane {
	l := &lane{
		Lane: cfg, worker: all.Worker, store: all.Store, observer: all.Observer, tracer: all.Tracer,
		log: all.Logger.With("kind", cfg.Kind), settler: settler, peers: peers, workload: workload, upcoming: all.Upcoming,
		hints: make(chan schedule.Hinted, hintsKept), answers: make(chan answer), ended: make(chan ended),
		told: make(chan told, toldKept), loaded: timing.NewSignal(), slots: make(chan claimed, cfg.Concurrency),
		over: make(chan struct{}),
	}
	l.state = schedule.New(schedule.Default(), cfg.Concurrency, all.Upcoming != nil, rand.Uint64(), time.Now())
	l.breaker = newBreaker(cfg.Breaker, cfg.Kind, l.breakerChanged)
	l.setRate()
	l.publish()
	return l
}

// run claims until stop ends, and returns when every attempt has handed over its outcome.
func (l *lane) run(stop, abort context.Context) {
	defer close(l.over)
	var slots sync.WaitGroup
	for range l.Concurrency {
		slots.Go(func() { l.serve(abort) })
	}
	timer := time.NewTimer(0)
	stopping := stop.Done()
	for {
		l.take()
		wake := l.act(stop)
		l.publish()
		if stop.Err() != nil && l.state.InFlight() == 0 && l.asking == 0 {
			break
		}
		if timer.Stop(); !wake.IsZero() {
			timer.Reset(time.Until(wake))
		}
		select {
		case h := <-l.hints:
			l.hinted(h)
		case a := <-l.answers:
			l.answer(a)
		case e := <-l.ended:
			l.end(e)
		case t := <-l.told:
			l.learn(t)
		case <-l.loaded:
		case <-timer.C:
		case <-stopping:
			stopping = nil
		}
	}
	close(l.slots)
	slots.Wait()
	l.beside.Wait()
}

// take takes what others have said meanwhile. Before the first claim that is what stops the lane.
func (l *lane) take() {
	busy, hearing, _ := l.workload.state()
	l.state.Apply(time.Now(), schedule.Loaded{Busy: busy, Hearing: hearing})
	for {
		select {
		case t := <-l.told:
			l.learn(t)
		default:
			return
		}
	}
}

// act does what the lane's state calls for, and returns when to look at it again; zero: only after an event.
func (l *lane) act(stop context.Context) (wake time.Time) {
	for {
		l.fill(stop)
		if stop.Err() != nil {
			return time.Time{}
		}
		now := time.Now()
		l.state.Door = l.door(now)
		a := l.state.Next(now)
		switch {
		case a.GiveBack:
			l.giveBack()
		case a.Claim.N > 0:
			l.send(stop, a.Claim)
		case a.Look:
			l.look(stop)
		default:
			return a.Wake
		}
	}
}

// hinted takes all hints that have come.
func (l *lane) hinted(h schedule.Hinted) {
	for n := 1; ; n++ {
		h.Lost = n == hintsKept // those that came while so many waited were dropped
		l.state.Apply(time.Now(), h)
		select {
		case h = <-l.hints:
		default:
			return
		}
	}
}

// hint wakes the lane for what has come, or will be due. It never blocks, and any goroutine may call it.
func (l *lane) hint(h schedule.Hinted) {
	select {
	case l.hints <- h:
	default: // hinted finds so many that it knows
	}
}

// plan notes that something is due again after d.
func (l *lane) plan(d time.Duration) { l.hint(schedule.Hinted{Due: time.Now().Add(d)}) }

// door returns what may keep the lane from claiming.
func (l *lane) door(now time.Time) schedule.Door {
	state, calls := l.breaker.State(), l.breaker.Counts()
	d := schedule.Door{
		Paused: l.shared.Paused, Gated: l.gate.until, Held: l.hold.on(), Away: l.away.on(),
		Open: state == gobreaker.StateOpen, OpenUntil: l.open,
	}
	if d.ProbeAt = l.away.next; d.Held {
		d.ProbeAt = l.hold.next
	}
	busy := l.state.InFlight()
	if state == gobreaker.StateHalfOpen { // it counts probes that have succeeded as well, until the last one has ended
		d.Half, busy = true, max(busy, int(calls.Requests-calls.TotalExclusions))
	} else if now.Before(l.broken) {
		d.Half, d.HalfUntil = true, l.broken
	}
	d.Leave = l.Breaker.Probes - busy
	if l.limiter != nil {
		d.Rated, d.Tokens, d.PerSecond = true, l.limiter.TokensAt(now), float64(l.limiter.Limit())
	}
	return d
}
