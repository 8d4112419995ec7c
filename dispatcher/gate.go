package dispatcher

import (
	"time"

	"github.com/outboxd/outboxd/internal/timing"
)

// A provider that limits without saying for how long closes the gate for a second, doubling to a minute while it lasts.
const (
	gateBase = time.Second
	gateMax  = time.Minute
)

// gateMost is the longest that look-ups wait because the provider asked for it: outbox.Decide bounds what sending
// waits.
const gateMost = time.Hour

// gate is closed while the provider asked to wait. Its lane's owner has it.
type gate struct {
	until  time.Time
	streak int // gates closed without an instant since the last success
	untold int // closings that the other workers have not been told of
}

// agree takes over what the workers share: until when the gate is closed, zero if it is not. That may be sooner than
// this worker knew, since a person or another worker has opened it; not where this worker has closed it and nobody
// knows yet.
func (g *gate) agree(until time.Time) {
	if g.untold == 0 || until.After(g.until) {
		g.until = until
	}
}

// close closes the gate for d, or for its own backoff if d is 0, and returns for how long it is closed now. Many calls
// of one wave may be refused; those that began before the gate was closed do not make the wait longer.
func (g *gate) close(now, began time.Time, d time.Duration) time.Duration {
	if d == 0 {
		if g.shut(now) || began.Before(g.until) {
			return max(0, g.until.Sub(now))
		}
		d = max(gateBase, timing.Backoff(gateBase, gateMax, g.streak+1))
		g.streak++
	}
	if until := now.Add(d); until.After(g.until) {
		g.until = until
	}
	return g.until.Sub(now)
}

func (g *gate) shut(now time.Time) bool { return now.Before(g.until) }

// passed ends the streak: the provider took a call.
func (g *gate) passed() { g.streak = 0 }
