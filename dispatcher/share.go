package dispatcher

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/outboxd/outboxd/outbox"
	"golang.org/x/time/rate"
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
	shareEvery   = time.Second            // how often the lanes' shared state is read where no hints come
	shareSeldom  = 15 * time.Second       // how often where they do
	beatEvery    = 5 * time.Second        // how often the registry is told that this worker lives
	beatFirst    = 500 * time.Millisecond // after the first time, doubling: workers that start together should know each other soon
	shareTimeout = 5 * time.Second        // of one exchange
)

// share keeps this worker's lanes and the shared state in step. It never stands in the way of a lane: what it cannot
// tell now it tells with the next exchange, and what it cannot read leaves the lanes as they are.
type share struct {
	shared Shared // nil: this worker is alone
	worker string
	store  Store
	log    *slog.Logger
	lanes  []*lane
	pace   *pace
	wake   chan struct{}

	started time.Time // the next five are used by one goroutine alone: Run's, then run's
	beaten  time.Time
	beatsIn time.Duration // from then to the next time
	traded  time.Time
	failing bool

	mu   sync.Mutex
	news []func(context.Context) error // what to tell the others, in order
}

func newShare(cfg Config, pace *pace) *share {
	return &share{pace: pace, shared: cfg.Shared, worker: cfg.Worker, store: cfg.Store, log: cfg.Logger, wake: make(chan struct{}, 1)}
}

// closeGate tells of a closed gate, and reports whether it will: then the lane's gate has one closing less that is untold.
func (s *share) closeGate(l *lane, d time.Duration) bool {
	until := time.Now().Add(d)
	return s.tell(func(ctx context.Context) error {
		if left := time.Until(until); left > 0 {
			if err := s.shared.CloseGate(ctx, l.Kind, left); err != nil {
				return err
			}
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.gate.untold--
		return nil
	})
}

func (s *share) hold(kind, code string) {
	s.tell(func(ctx context.Context) error { return s.shared.Hold(ctx, kind, code) })
}

func (s *share) unhold(kind string) {
	s.tell(func(ctx context.Context) error { return s.shared.Unhold(ctx, kind) })
}

// hasten lets what met a hold run at once. Each worker does it when it learns that the hold has ended, since whoever ended it
// may have been a person with a shell.
func (s *share) hasten(kind string) {
	s.tell(func(ctx context.Context) error { return s.shared.Hasten(ctx, kind) })
}

// feed makes due what met the lane's hold, so that there is something to probe with.
func (s *share) feed(l *lane) {
	s.tell(func(ctx context.Context) error {
		if err := s.shared.Hasten(ctx, l.Kind); err != nil {
			return err
		}
		l.hint()
		return nil
	})
}

func (s *share) broke(kind string, d time.Duration) {
	s.tell(func(ctx context.Context) error { return s.shared.Break(ctx, kind, s.worker, d) })
}

func (s *share) mended(kind string) {
	s.tell(func(ctx context.Context) error { return s.shared.Unbreak(ctx, kind, s.worker) })
}

// mostNews bounds what waits while the database is away.
const mostNews = 100

// tell keeps news for the next exchange, and reports whether there was room.
func (s *share) tell(news func(context.Context) error) bool {
	if s.shared == nil {
		return false
	}
	s.mu.Lock()
	room := len(s.news) < mostNews
	if room {
		s.news = append(s.news, news)
	}
	s.mu.Unlock()
	s.wakeUp()
	return room
}

func (s *share) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// once tells the registry that this worker lives, and exchanges news, each if it is time for that; news and hints are
// exchanged at once. Run calls it before the first claim, so that a worker which starts knows what stops its lanes.
func (s *share) once(ctx context.Context, now bool) {
	if s.started.IsZero() {
		s.started = s.store.Now()
	}
	if time.Since(s.beaten) >= s.beatsIn {
		s.beaten = time.Now()
		s.beatsIn = min(max(beatFirst, 2*s.beatsIn), beatEvery)
		s.beat(ctx)
	}
	if !now && time.Since(s.traded) < s.every() {
		return
	}
	s.traded = time.Now()
	err := s.exchange(ctx)
	if err != nil && !s.failing && ctx.Err() == nil {
		s.log.Warn("the lanes' shared state cannot be exchanged; this worker goes by its own", "err", err)
	}
	s.failing = err != nil
}

// every is how often the shared state is read. While it cannot be read, it is tried as often as without hints.
func (s *share) every() time.Duration {
	if s.pace.quiet() && !s.failing {
		return shareSeldom
	}
	return shareEvery * 3 / 4
}

// run exchanges news until ctx ends, and then takes the worker out of the registry.
func (s *share) run(ctx context.Context) {
	woken := false
	for {
		s.once(ctx, woken)
		wait := min(time.Until(s.traded.Add(s.every()))+rand.N(shareEvery/4), time.Until(s.beaten.Add(s.beatsIn)))
		woken = false
		select {
		case <-ctx.Done():
			s.leave(ctx)
			return
		case <-s.wake:
			woken = true
		case <-time.After(wait):
		}
	}
}

func (s *share) exchange(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, shareTimeout)
	defer cancel()
	for {
		s.mu.Lock()
		if len(s.news) == 0 {
			s.mu.Unlock()
			break
		}
		news := s.news[0]
		s.mu.Unlock()
		if err := news(ctx); err != nil {
			return err
		}
		s.mu.Lock()
		s.news = s.news[1:]
		s.mu.Unlock()
	}
	states, err := s.shared.Lanes(ctx)
	if err != nil {
		return err
	}
	for _, l := range s.lanes {
		l.learn(states[l.Kind], s.store.Now())
	}
	return nil
}

// beat tells the registry that this worker lives, and splits each lane's rate over those who live.
func (s *share) beat(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, shareTimeout)
	defer cancel()
	w := outbox.Worker{Name: s.worker, InFlight: make(map[string]int), Started: s.started}
	for _, l := range s.lanes {
		w.Kinds = append(w.Kinds, l.Kind)
		w.InFlight[l.Kind] = l.status().InFlight
	}
	live, err := s.shared.Heartbeat(ctx, w)
	if err != nil {
		return // exchange fails as well, and says so
	}
	for _, l := range s.lanes {
		l.split(live[l.Kind])
	}
}

func (s *share) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shareTimeout)
	defer cancel()
	if err := s.shared.Leave(ctx, s.worker); err != nil {
		s.log.Warn("leaving the registry of workers failed; it forgets this worker by itself", "err", err)
	}
}

// learn takes over what other workers and people say about the lane. now is the database's.
func (l *lane) learn(state outbox.LaneState, now time.Time) {
	local := time.Now()
	l.mu.Lock()
	before, first := l.shared, !l.learned
	l.shared, l.learned = state, true
	var until time.Time
	if state.GateUntil.After(now) {
		until = local.Add(state.GateUntil.Sub(now))
	}
	was := l.gate.until
	l.gate.agree(until)
	opened := l.gate.until.Before(was) // the lane sleeps until the old instant
	if state.BrokenBy != l.worker && state.BrokenUntil.After(now) {
		l.brokenFor = local.Add(state.BrokenUntil.Sub(now))
	} else if state.BrokenUntil.IsZero() {
		l.brokenFor = time.Time{}
	}
	resumed := state.HeldSince.IsZero() && !before.HeldSince.IsZero()
	switch {
	case resumed:
		l.hold.forget() // another worker's probe passed, or a person resumed the lane
	case !state.HeldSince.IsZero() && !l.hold.on():
		l.hold.begin(local, state.HoldCode)
		if first { // a worker that starts may have other credentials: it sees for itself
			l.hold.next = local
		}
	}
	changed := before.Paused != state.Paused || before.HeldSince.IsZero() != state.HeldSince.IsZero()
	l.mu.Unlock()
	if before.Paused != state.Paused {
		l.log.Warn("lane paused or resumed", "paused", state.Paused, "why", state.Why, "by", state.By)
	}
	if resumed {
		l.share.hasten(l.Kind)
	}
	if changed || opened {
		l.wakeUp()
	}
}

// split takes over how many workers serve the kind, and sets this worker's share of the lane's rate.
func (l *lane) split(live int) {
	l.mu.Lock()
	l.live = live
	l.mu.Unlock()
	if l.limiter == nil {
		return
	}
	each := l.Rate / float64(max(1, live))
	if l.limiter.Limit() != rate.Limit(each) {
		l.limiter.SetLimit(rate.Limit(each))
		l.limiter.SetBurst(max(1, int(each)))
	}
}
