package store

import (
	"sync"
	"time"
)

// maxClockAge is how long an estimate of the database's clock is relied on before a claim asks again: clocks drift, are
// set, and another member may have become primary.
const maxClockAge = 30 * time.Second

// quickAnswer is how long an answer may take that corrects an old estimate downwards. A slower one may tell a time that
// is as old as that.
const quickAnswer = time.Second

// clock estimates the database's time between answers that tell it. An answer is taken as told at the moment it
// arrived, so the estimate is behind by the answer's way but never ahead: a candidate search never finds what the
// database would refuse. It is safe for concurrent use.
type clock struct {
	mu       sync.Mutex
	database time.Time // as told
	received time.Time // by the local clock, whose monotonic part counts
}

// tell takes an instant of the database that was asked for at the given moment and received just now. Among answers the
// one that gives the latest time was the quickest, so it is the best; after half a minute a quick one is believed in
// any case.
func (c *clock) tell(database, asked time.Time) {
	received := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	since := received.Sub(c.received)
	old := since > maxClockAge && received.Sub(asked) <= quickAnswer
	if c.database.IsZero() || old || database.After(c.database.Add(since)) {
		c.database, c.received = database, received
	}
}

// atLeast takes an instant of the database that has passed: the beginning of a lease that was read some time later.
func (c *clock) atLeast(database time.Time) { c.tell(database, time.Time{}) }

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
