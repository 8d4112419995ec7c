package worker

import (
	"context"
	"log/slog"
	"time"

	"github.com/outboxd/outboxd/dispatcher"
	"github.com/outboxd/outboxd/internal/timing"
	"github.com/outboxd/outboxd/store"
)

// watch listens to the change stream while that is worth it, until ctx ends. While the database refuses it, lanes poll.
// up is told whether it is granted.
func watch(ctx context.Context, db *store.Store, d *dispatcher.Dispatcher, up func(bool), log *slog.Logger) {
	refused := false // it was told; one goroutine at a time comes here
	err := d.Listen(ctx, func(ctx context.Context) error {
		return db.Watch(ctx, store.Watcher{
			Notify: d.Notify,
			Open: func(open bool) {
				if open {
					up(true)
				}
				if open && refused {
					refused = false
					log.Info("the change stream is open again")
				}
				d.Watched(open)
			},
			Refused: func(err error) {
				up(false)
				if !refused {
					refused = true
					log.Warn("no change stream; intents are found by polling, up to a second later; it is tried again", "err", err)
				}
			},
		})
	})
	if err != nil {
		up(false)
		log.Warn("no change stream; intents are found by polling, up to a second later", "err", err)
	}
}

// sweepEvery is how often it is looked for documents that no claim can see, with jitter, so that workers take turns.
const sweepEvery = 3 * time.Minute

// sweep makes dead letters of documents that no claim can see: at once, which it reports by closing first, and again
// and again until ctx ends.
func sweep(ctx context.Context, db *store.Store, log *slog.Logger, first chan<- struct{}) {
	for {
		n, err := db.Sweep(ctx)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			log.Warn("sweeping up what no claim can see failed; it is tried again", "err", err)
		case n > 0:
			log.Warn("swept up documents that no claim can see; they are dead letters now", "count", n)
		}
		if first != nil {
			close(first)
			first = nil
		}
		if timing.Sleep(ctx, timing.Jitter(sweepEvery)) != nil {
			return
		}
	}
}
