package store

import (
	"sync"
	"time"
)

// maxClockAge is how long an estimate of the database's clock is relied on before a claim asks again: clocks drift, are
// set, and another member may have become primary.
const maxClockAge = 30 * time.Second

// clock estimates the database's time between answers that tell it. An answer is taken as told at the moment it arrived,
// so the estimate is behind by the answer's way but never ahead: a candidate search never finds what the database would
// refuse. It is safe for concurrent use.
type clock struct {
	mu       sync.Mutex
	database time.Time // as told
	received time.Time // by the local clock, whose monotonic part counts
}

// tell takes an instant of the database that was received just now. Among answers of the last half minute the one that
// gives the latest time was the quickest, so it is the best.
func (c *clock) tell(database time.Time) {
	received := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if since := received.Sub(c.received); c.database.IsZero() || since > maxClockAge || database.After(c.database.Add(since)) {
		c.database, c.received = database, received
	}
}

// now returns the estimate, and whether it is fresh. Before the first answer it is the local time.
func (c *clock) now() (now time.Time, fresh bool) {
	local := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.database.IsZero() {
		return local.UTC(), false
	}
	age := local.Sub(c.received)
	return c.database.Add(age).UTC(), age <= maxClockAge
}
