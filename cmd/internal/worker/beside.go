package worker

import (
	"context"
	"log/slog"
	"time"

	"github.com/outboxd/outboxd/dispatcher"
	"github.com/outboxd/outboxd/store"
)

// shareAtMost is how often hints may make the lanes' shared state be read: a burst of intents brings one hint each. What is
// missed here is read within a second anyway.
const shareAtMost = 200 * time.Millisecond

// watch wakes lanes by the change stream until ctx ends, or until the database refuses it; then lanes poll.
func watch(ctx context.Context, db *store.Store, d *dispatcher.Dispatcher, log *slog.Logger) {
	var shared time.Time // used by the stream's calls alone, which come one after another
	err := db.Watch(ctx, func(kind string) {
		d.Wake(kind)
		if now := time.Now(); now.Sub(shared) >= shareAtMost {
			shared = now
			d.WakeShared()
		}
	})
	if err != nil {
		log.Warn("no change stream; intents are found by polling, up to a second later", "err", err)
	}
}
