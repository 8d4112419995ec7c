package dispatcher

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outboxd/outboxd/internal/timing"
	"github.com/outboxd/outboxd/outbox"
)

const (
	settleBatch    = 500                    // settlements in one batch at most
	settleWriters  = 2                      // batches under way at once
	settleTimeout  = 10 * time.Second       // of one try of a batch
	settleGrace    = 5 * time.Second        // for outcomes after abort
	settleBackoff  = 100 * time.Millisecond // after a failed try, doubling to settleMaxWait
	settleMaxWait  = 2 * time.Second
	busyMaxWait    = 250 * time.Millisecond // between two tries of a busy intent: it is to be settled before anybody claims it
	settleGathers  = 10 * time.Millisecond  // a busy settler waits so long for more
	settleWaits    = time.Millisecond       // any other so long, from each to the next
	settleBusyFrom = 8                      // outcomes at once that make it busy
)

// settler gathers the outcomes of one lane and writes them in batches. It keeps trying while the database is away: what
// a provider did must not be forgotten. Lanes do not wait for each other's.
type settler struct {
	store    Store
	observer Observer
	tracer   Tracer // nil: no spans
	log      *slog.Logger
	logs     Logs
	sample   sampler
	in       chan outcome
	recorded func(time.Duration) // told when an outcome is due whose consequences wait
}

// outcome is a settlement on its way.
type outcome struct {
	outbox.Settlement
	kind string
	lane *lane // told when the intent is due again; nil: nobody waits
}

func newSettler(cfg Config, recorded func(time.Duration)) *settler {
	return &settler{store: cfg.Store, observer: cfg.Observer, tracer: cfg.Tracer, log: cfg.Logger, logs: cfg.Logs,
		sample: sampler{most: cfg.Logs.Successes}, in: make(chan outcome, settleBatch), recorded: recorded}
}

// settle hands over an outcome. It blocks while the settler is full, which holds the lane's slot and so bounds memory.
func (s *settler) settle(o outcome) { s.in <- o }

// close says that no outcome will follow.
func (s *settler) close() { close(s.in) }

// run writes batches until close and everything is written, or until settleGrace after abort.
func (s *settler) run(abort context.Context) error {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(abort))
	defer cancel(nil)
	var grace sync.WaitGroup
	done := make(chan struct{})
	grace.Go(func() {
		select {
		case <-done:
			return
		case <-abort.Done():
		}
		select {
		case <-done:
		case <-time.After(settleGrace):
			cancel(fmt.Errorf("no time left to settle, %v after calls were cancelled", settleGrace))
		}
	})

	var writers sync.WaitGroup
	var lost atomic.Int64
	slots := make(chan struct{}, settleWriters)
	for batch := s.gather(nil); len(batch) > 0; batch = s.gather(slots) {
		slots <- struct{}{}
		writers.Go(func() {
			busy, n := s.write(ctx, batch)
			<-slots
			lost.Add(int64(n + s.insist(ctx, busy))) // beside the batches that follow
		})
	}
	writers.Wait()
	s.skipped(s.sample.rest())
	close(done)
	grace.Wait()
	if n := lost.Load(); n > 0 {
		return fmt.Errorf("%d outcomes could not be settled; their leases run out and they are taken as ambiguous: %w", n, context.Cause(ctx))
	}
	return nil
}

// gather returns the next batch, or nothing after close. A settler without writers at work takes what there is; a busy
// one waits a moment for more, the longer the more writers are at work, since a larger batch costs the database hardly
// more than a small one. An intent stands in a batch at most once.
func (s *settler) gather(busy chan struct{}) []outcome {
	first, ok := <-s.in
	if !ok {
		return nil
	}
	batch := append(make([]outcome, 0, settleBatch), first)
	var late <-chan time.Time
	for len(batch) < settleBatch {
		select {
		case o, ok := <-s.in:
			if !ok {
				return batch
			}
			batch = append(batch, o)
			continue
		default:
		}
		wait := late
		if calm := len(busy) == 0 && len(batch) < settleBusyFrom; calm {
			wait = time.After(settleWaits)
		} else if late == nil {
			late = time.After(settleGathers * time.Duration(1+len(busy)))
			wait = late
		}
		select {
		case o, ok := <-s.in:
			if !ok {
				return batch
			}
			batch = append(batch, o)
		case <-wait:
			return batch
		}
	}
	return batch
}

// insist settles outcomes again until nobody holds their intents any more, and returns how many it could not write
// before ctx ended. Whoever lets go of one is soon followed by the outcome.
func (s *settler) insist(ctx context.Context, busy []outcome) (lost int) {
	for try := 1; len(busy) > 0; try++ {
		if timing.Sleep(ctx, timing.Backoff(settleBackoff, busyMaxWait, try)) != nil {
			s.forget(ctx, busy)
			return lost + len(busy)
		}
		var n int
		busy, n = s.write(ctx, busy)
		lost += n
	}
	return lost
}

// write settles a batch, however long the database is away. It returns the outcomes whose intents somebody holds, and
// how many it could not write before ctx ended.
func (s *settler) write(ctx context.Context, batch []outcome) (busy []outcome, lost int) {
	settlements := make([]outbox.Settlement, len(batch))
	for i, o := range batch {
		settlements[i] = o.Settlement
	}
	for try := 1; ; try++ {
		answers, err := s.try(ctx, settlements)
		if err == nil {
			for i, answer := range answers {
				if answer.Busy != "" {
					s.log.Debug("somebody holds the intent; settling again", append(s.attrs(batch[i]), "why", answer.Busy)...)
					busy = append(busy, batch[i])
					continue
				}
				s.report(batch[i], answer)
			}
			return busy, 0
		}
		wait := timing.Backoff(settleBackoff, settleMaxWait, try)
		s.log.Warn("settling failed; trying again", "outcomes", len(batch), "err", err, "wait_ms", milliseconds(wait))
		if timing.Sleep(ctx, wait) != nil {
			s.forget(ctx, batch)
			return nil, len(batch)
		}
	}
}

// forget tells of outcomes that nobody will write any more.
func (s *settler) forget(ctx context.Context, outcomes []outcome) {
	for _, o := range outcomes {
		s.log.Error("outcome not settled", append(s.attrs(o), "cause", context.Cause(ctx))...)
	}
}

func (s *settler) try(ctx context.Context, settlements []outbox.Settlement) ([]outbox.Settled, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, settleTimeout, fmt.Errorf("settling took longer than %v", settleTimeout))
	defer cancel()
	began := time.Now()
	settled, err := s.store.Settle(ctx, settlements)
	s.observer.Wrote(len(settlements), time.Since(began), err)
	if s.tracer != nil {
		s.tracer.Wrote(began, settlements, err)
	}
	return settled, err
}

// report logs and counts one outcome.
func (s *settler) report(o outcome, answer outbox.Settled) {
	if answer.Lost {
		s.observer.LeaseLost(o.kind)
		s.log.Warn("lease lost; the outcome was not written", s.attrs(o)...)
		return
	}
	if answer.Waiting != "" { // it counts as settled when it is
		level := slog.LevelWarn
		if o.Intent.Outcome != nil { // not for each try
			level = slog.LevelDebug
		}
		s.log.Log(context.Background(), level, "outcome recorded; its consequences wait", append(s.attrs(o), "why", answer.Waiting, "again_ms", milliseconds(answer.Again))...)
		s.recorded(answer.Again)
		return
	}
	s.observer.Settled(o.kind, o.Settlement)
	if o.lane != nil && o.Decision.Status == outbox.StatusPending {
		o.lane.plan(o.Decision.Delay)
	}
	for _, note := range answer.Notes {
		s.observer.Noted(o.kind, note.Code)
		s.log.Warn("settled with a note", append(s.attrs(o), "note", note.Code, "text", note.Text)...)
	}
	s.settled(o)
}
