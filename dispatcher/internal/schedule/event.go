package schedule

import (
	"time"

	"github.com/outboxd/outboxd/outbox"
)

// Event is something that happened to a lane.
type Event interface{ event() }

// Hinted says that an intent may have come.
type Hinted struct {
	ID   outbox.ID // zero: nobody knows which
	Due  time.Time // when it is due; zero: now
	Lost bool      // other hints were lost
}

// Sent says that the claim of an action is under way.
type Sent struct{ Claim Claim }

// Claimed says that a claim has ended.
type Claimed struct {
	Asked  int // as Sent said
	Got    int
	Bytes  int           // the size of those
	Took   time.Duration // by the claim
	Named  bool          // it was one of named intents
	Failed bool
}

// Started says that a slot has taken intents that waited for one.
type Started struct{ N int }

// Ended says that an attempt has ended, and that its slot is free.
type Ended struct {
	Bytes int
	Late  bool // it was given back, so that it says nothing of how quick calls are
}

// LookUp says that so many look-ups of earlier attempts have begun, or with a negative number ended. They tell nothing
// of the provider, so that a probe does not wait for them.
type LookUp struct{ N int }

// Looking says that the database was asked what becomes due.
type Looking struct{}

// Looked is the answer.
type Looked struct {
	Due    []time.Time // soonest first
	Whole  bool        // nothing else becomes due within [Policy.Seldom]
	Failed bool
}

// Loaded says how the worker stands.
type Loaded struct {
	Busy    bool // it has so much to do that hints would cost more than they bring
	Hearing bool // hints come
}

// Peered says how many workers serve the kind.
type Peered struct{ Live int }

func (Hinted) event()  {}
func (Sent) event()    {}
func (Claimed) event() {}
func (Started) event() {}
func (Ended) event()   {}
func (LookUp) event()  {}
func (Looking) event() {}
func (Looked) event()  {}
func (Loaded) event()  {}
func (Peered) event()  {}

// Door is what may keep a lane from claiming. It is asked for anew each time, since it changes with time alone.
type Door struct {
	Paused bool
	Gated  time.Time // the gate is shut until then

	Held    bool      // the provider refuses the lane: one intent at a time probes
	Away    bool      // the provider does not answer: the same
	ProbeAt time.Time // when the next probe may go

	Open      bool // the breaker is
	OpenUntil time.Time
	Half      bool      // few calls at a time may begin: the breaker is half-open, or another worker's is open
	HalfUntil time.Time // of the latter
	Leave     int       // so many calls may begin

	Rated     bool // the lane has a rate limit
	Tokens    float64
	PerSecond float64 // how fast those come back
}

// clear reports whether nothing keeps the lane from claiming as much as it has room for, but its rate.
func (d *Door) clear(now time.Time) bool {
	return !d.Paused && !now.Before(d.Gated) && !d.Held && !d.Away && !d.Open && !d.Half
}

// probing reports whether the lane sends one intent at a time, to see whether it may send more.
func (d *Door) probing() bool { return d.Held || d.Away }
