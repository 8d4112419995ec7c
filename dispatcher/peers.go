package dispatcher

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/outboxd/outboxd/dispatcher/internal/schedule"
	"github.com/outboxd/outboxd/internal/timing"
	"github.com/outboxd/outboxd/outbox"
)

// Shared is what workers tell each other about lanes and themselves. All of its instants are the database's.
type Shared interface {
	Lanes(ctx context.Context) (map[string]outbox.LaneState, error)
	CloseGate(ctx context.Context, kind string, d time.Duration) error
	Hold(ctx context.Context, kind, code string) error
	Unhold(ctx context.Context, kind string) error
	// Hasten makes due at once what waits because the provider refused it.
	Hasten(ctx context.Context, kind string) error
	Break(ctx context.Context, kind, worker string, d time.Duration) error
	Unbreak(ctx context.Context, kind, worker string) error
	// Heartbeat enters the worker in the registry and returns how many live workers serve each kind, itself included.
	Heartbeat(ctx context.Context, w outbox.Worker) (map[string]int, error)
	Leave(ctx context.Context, worker string) error
}

const (
	peersEvery   = time.Second            // how often the lanes' shared state is read where no hints come
	peersSeldom  = 15 * time.Second       // how often where they do
	beatEvery    = 5 * time.Second        // how often the registry is told that this worker lives
	beatFirst    = 500 * time.Millisecond // after the first time, doubling: workers that start together should know each other soon
	peersTimeout = 5 * time.Second        // of one exchange
)

// mostNews bounds what waits while the database is away.
const mostNews = 100

// peers keeps this worker's lanes and the shared state in step. It never stands in the way of a lane: what it cannot
// tell now it tells with the next exchange, and what it cannot read leaves the lanes as they are.
type peers struct {
	shared   Shared // nil: this worker is alone
	worker   string
	store    Store
	log      *slog.Logger
	lanes    []*lane
	workload *workload
	wake     timing.Signal

	started time.Time // the next five are used by one goroutine alone: Run's, then run's
	beaten  time.Time
	beatsIn time.Duration // from then to the next time
	traded  time.Time
	failing bool

	mu   sync.Mutex
	news []news // in the order in which they happened
}

func newPeers(cfg Config, workload *workload) *peers {
	return &peers{workload: workload, shared: cfg.Shared, worker: cfg.Worker, store: cfg.Store, log: cfg.Logger, wake: timing.NewSignal()}
}

// news is something that the other workers are to be told of.
type news struct {
	what  what
	lane  *lane
	code  string    // of a hold
	until time.Time // when a gate opens, or a breaker closes, by the local monotonic clock
}

// what says what happened to a lane.
type what int

const (
	gateClosed what = iota
	laneHeld
	holdEnded
	waitEnded     // what met the hold is to run at once
	probeWanted   // the same, and the lane claims as soon as it is done: it has nothing to probe with
	breakerOpened // of this worker
	breakerClosed
)

// tell keeps news for the next exchange. It never blocks. It reports whether there was room: news that cannot be kept
// are dropped, since the others find out by themselves.
func (p *peers) tell(n news) bool {
	if p.shared == nil {
		return false
	}
	p.mu.Lock()
	room := len(p.news) < mostNews
	if room {
		p.news = append(p.news, n)
	}
	p.mu.Unlock()
	p.wake.Send()
	return room
}

// send tells the other workers of one thing that happened.
func (p *peers) send(ctx context.Context, n news) error {
	kind := n.lane.Kind
	switch n.what {
	case gateClosed:
		if left := time.Until(n.until); left > 0 {
			if err := p.shared.CloseGate(ctx, kind, left); err != nil {
				return err
			}
		}
		n.lane.tell(told{gate: true})
		return nil
	case laneHeld:
		return p.shared.Hold(ctx, kind, n.code)
	case holdEnded:
		return p.shared.Unhold(ctx, kind)
	case waitEnded:
		return p.shared.Hasten(ctx, kind)
	case probeWanted:
		if err := p.shared.Hasten(ctx, kind); err != nil {
			return err
		}
		n.lane.hint(schedule.Hinted{})
		return nil
	case breakerOpened:
		if left := time.Until(n.until); left > 0 {
			return p.shared.Break(ctx, kind, p.worker, left)
		}
		return nil
	case breakerClosed:
		return p.shared.Unbreak(ctx, kind, p.worker)
	}
	return nil
}

// once tells the registry that this worker lives, and exchanges news, each if it is time for that; news and hints are
// exchanged at once. Run calls it before the first claim, so that a worker which starts knows what stops its lanes.
func (p *peers) once(ctx context.Context, now bool) {
	if p.started.IsZero() {
		p.started = p.store.Now()
	}
	if time.Since(p.beaten) >= p.beatsIn {
		p.beaten = time.Now()
		p.beatsIn = min(max(beatFirst, 2*p.beatsIn), beatEvery)
		p.beat(ctx)
	}
	if !now && time.Since(p.traded) < p.every() {
		return
	}
	p.traded = time.Now()
	err := p.exchange(ctx)
	if err != nil && !p.failing && ctx.Err() == nil {
		p.log.Warn("the lanes' shared state cannot be exchanged; this worker goes by its own", "err", err)
	}
	p.failing = err != nil
}

// every is how often the shared state is read. While it cannot be read, it is tried as often as without hints.
func (p *peers) every() time.Duration {
	if p.workload.quiet() && !p.failing {
		return peersSeldom
	}
	return peersEvery * 3 / 4
}

// run exchanges news until ctx ends, and then takes the worker out of the registry.
func (p *peers) run(ctx context.Context) {
	woken := false
	for {
		p.once(ctx, woken)
		wait := min(time.Until(p.traded.Add(p.every()))+rand.N(peersEvery/4), time.Until(p.beaten.Add(p.beatsIn)))
		woken = false
		select {
		case <-ctx.Done():
			p.leave(ctx)
			return
		case <-p.wake:
			woken = true
		case <-time.After(wait):
		}
	}
}

func (p *peers) exchange(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, peersTimeout)
	defer cancel()
	for {
		first, ok := p.oldest()
		if !ok {
			break
		}
		if err := p.send(ctx, first); err != nil {
			return err
		}
		p.told()
	}
	states, err := p.shared.Lanes(ctx)
	if err != nil {
		return err
	}
	for _, l := range p.lanes {
		state := states[l.Kind]
		l.tell(told{state: &state, at: p.store.Now()})
	}
	return nil
}

// oldest returns the news to be told next.
func (p *peers) oldest() (news, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.news) == 0 {
		return news{}, false
	}
	return p.news[0], true
}

// told drops the oldest news.
func (p *peers) told() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.news = p.news[1:]
}

// beat tells the registry that this worker lives, and splits each lane's rate over those who live.
func (p *peers) beat(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, peersTimeout)
	defer cancel()
	w := outbox.Worker{Name: p.worker, InFlight: make(map[string]int), Started: p.started}
	for _, l := range p.lanes {
		w.Kinds = append(w.Kinds, l.Kind)
		w.InFlight[l.Kind] = l.status().InFlight
	}
	live, err := p.shared.Heartbeat(ctx, w)
	if err != nil {
		return // exchange fails as well, and says so
	}
	for _, l := range p.lanes {
		l.tell(told{live: max(1, live[l.Kind])})
	}
}

func (p *peers) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), peersTimeout)
	defer cancel()
	if err := p.shared.Leave(ctx, p.worker); err != nil {
		p.log.Warn("leaving the registry of workers failed; it forgets this worker by itself", "err", err)
	}
}
