// Package live tells pages and clients that something changed. One [Hub] asks the database for all of them, and only
// while somebody listens, so that its load does not grow with those who look.
package live

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/outboxd/outboxd/admin"
	"github.com/outboxd/outboxd/internal/timing"
)

// Bounds of a hub.
const (
	MaxStreams = 100 // of all people together
	MaxOfOne   = 5   // of one person
	MaxIntents = 5   // that one stream asks for
	Every      = 2 * time.Second
	askTime    = 2 * time.Second // of each question
	newestJobs = 50
)

// Config is what a [Hub] is made of.
type Config struct {
	State  admin.State
	Jobs   admin.Jobs
	Reader admin.Reader
	Logger *slog.Logger
}

// Hub tells its streams what changed. It is safe for concurrent use.
type Hub struct {
	Config
	wake timing.Signal // somebody listens

	mu      sync.Mutex
	over    bool
	streams map[*stream]struct{}
	of      map[string]int // streams of each person
	seen    map[admin.Event]string
}

// New returns a hub. It tells nothing before [Hub.Run].
func New(c Config) *Hub {
	return &Hub{Config: c, wake: timing.NewSignal(), streams: make(map[*stream]struct{}), of: make(map[string]int), seen: make(map[admin.Event]string)}
}

// Run asks until ctx ends, and then ends all streams.
func (h *Hub) Run(ctx context.Context) {
	defer h.close()
	for {
		if !h.Listened() {
			select {
			case <-ctx.Done():
				return
			case <-h.wake:
			}
		}
		h.ask(ctx)
		if timing.Sleep(ctx, Every) != nil {
			return
		}
	}
}

// Listened reports whether anybody listens.
func (h *Hub) Listened() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.streams) > 0
}

// ask looks at all that somebody wants to know, each once.
func (h *Hub) ask(ctx context.Context) {
	h.look(ctx, admin.Event{What: admin.EventCensus}, func(ctx context.Context) (any, error) {
		c, err := h.State.Census(ctx)
		return c.At, err
	})
	h.look(ctx, admin.Event{What: admin.EventLanes}, func(ctx context.Context) (any, error) { return h.State.Lanes(ctx) })
	h.look(ctx, admin.Event{What: admin.EventJobs}, func(ctx context.Context) (any, error) {
		jobs, err := h.Jobs.Jobs(ctx, newestJobs)
		var versions []any
		for _, j := range jobs {
			versions = append(versions, j.ID, j.State, j.Counts, j.Plan.Needs, j.Approved)
		}
		return versions, err
	})
	for name := range h.intents() {
		h.look(ctx, admin.Event{What: admin.EventIntent, Name: name}, func(ctx context.Context) (any, error) {
			in, err := h.Reader.Look(ctx, name)
			if err != nil {
				return nil, err
			}
			return in.Document, nil
		})
	}
	h.Logger.DebugContext(ctx, "looked for changes")
}

// look tells the streams if the answer is another than before.
func (h *Hub) look(ctx context.Context, e admin.Event, ask func(context.Context) (any, error)) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	answer, err := ask(ctx)
	if err != nil { // also an intent that is gone; it is asked again
		h.Logger.DebugContext(ctx, "looking for changes failed; it is tried again", "what", e.What, "err", err)
		return
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%v", answer)) // maps are printed in the order of their keys
	h.mu.Lock()
	defer h.mu.Unlock()
	before, known := h.seen[e]
	h.seen[e] = string(sum[:])
	if !known || before == string(sum[:]) {
		return
	}
	for s := range h.streams {
		s.tell(e)
	}
}

// intents returns the names that streams ask for, and forgets what nobody asks for any more.
func (h *Hub) intents() map[string]bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	names := make(map[string]bool)
	for s := range h.streams {
		for name := range s.intents {
			names[name] = true
		}
	}
	for e := range h.seen {
		if e.What == admin.EventIntent && !names[e.Name] {
			delete(h.seen, e)
		}
	}
	return names
}

func (h *Hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
	for s := range h.streams {
		close(s.over)
	}
	clear(h.streams)
}
