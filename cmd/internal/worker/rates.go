package worker

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/outboxd/outboxd/internal/timing"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store"
)

const (
	ratesEvery   = 10 * time.Second // how often what was counted is written, with jitter
	ratesTimeout = 2 * time.Second  // of one such write
	ratesKept    = 60               // minutes and kinds that are kept while the database is away
	otherKinds   = "other"          // all kinds that the worker knows nothing of
)

// rates counts what the worker does, by minute and kind, until it is written. It is a dispatcher.Observer, safe for
// concurrent use.
type rates struct {
	unwatched
	now   func() time.Time // the database's
	kinds []string

	mu      sync.Mutex
	minutes []outbox.RateMinute // the oldest first
}

// of returns the counters of the running minute. It is called under the lock.
func (r *rates) of(kind string) *outbox.RateCounters {
	if !slices.Contains(r.kinds, kind) {
		kind = otherKinds
	}
	minute := r.now().UTC().Truncate(time.Minute)
	for i := range slices.Backward(r.minutes) {
		if m := &r.minutes[i]; m.Kind == kind && m.Minute.Equal(minute) {
			return &m.RateCounters
		}
	}
	r.minutes = append(r.minutes, outbox.RateMinute{Minute: minute, Kind: kind})
	return &r.minutes[len(r.minutes)-1].RateCounters
}

// Claimed counts intents.
func (r *rates) Claimed(kind string, n int, _ time.Duration, _ error) {
	if n == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.of(kind).Claimed += int64(n)
}

// LeaseLost counts it.
func (r *rates) LeaseLost(kind string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.of(kind).LeaseLost++
}

// Settled counts an outcome.
func (r *rates) Settled(kind string, s outbox.Settlement) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.of(kind).Count(s)
}

// write adds what was counted to the database. What could not be written is kept for the next time, as far as there is
// room.
func (r *rates) write(ctx context.Context, db *store.Store) error {
	ctx, cancel := context.WithTimeout(ctx, ratesTimeout)
	defer cancel()
	r.mu.Lock()
	minutes := r.minutes
	r.minutes = nil
	r.mu.Unlock()
	err := db.AddRates(ctx, minutes)
	if err != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.minutes = append(minutes, r.minutes...)
		r.minutes = r.minutes[max(0, len(r.minutes)-ratesKept):]
	}
	return err
}

// run writes again and again until ctx ends.
func (r *rates) run(ctx context.Context, db *store.Store, log *slog.Logger) {
	for timing.Sleep(ctx, timing.Jitter(ratesEvery)) == nil {
		if err := r.write(ctx, db); err != nil && ctx.Err() == nil {
			log.Debug("adding to the rates failed; it is tried again", "err", err)
		}
	}
}

// censusPause is how often a worker looks whether a census is due, with jitter, so that workers take turns.
const censusPause = 5 * time.Second

// takeCensus takes a census whenever one is due, until ctx ends.
func takeCensus(ctx context.Context, db *store.Store, worker string, kinds []string, log *slog.Logger) {
	told := ""
	for {
		_, err := db.TakeCensus(ctx, worker, kinds)
		switch {
		case err == nil:
			told = ""
		case ctx.Err() == nil && err.Error() != told: // once, not every few seconds
			told = err.Error()
			log.Warn("the census is not whole; metrics and pages show older figures", "err", err)
		}
		if timing.Sleep(ctx, timing.Jitter(censusPause)) != nil {
			return
		}
	}
}
