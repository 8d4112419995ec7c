package admin

import "errors"

// What an [Event] is about.
const (
	EventCensus = "census" // new figures
	EventLanes  = "lanes"  // a lane was paused, held, gated, or let go on
	EventJobs   = "jobs"   // a job went on
	EventIntent = "intent" // an intent that was asked for
)

// Event says that something changed. It does not say how: who gets it looks again, with their own rights.
type Event struct {
	What string
	Name string // of the intent; else empty
}

// Errors of a stream of events.
var (
	// ErrManyStreams says that no more streams are served, or none to this person.
	ErrManyStreams = errors.New("too many streams of events are open; close some, and try again")
	// ErrStreamOver ends each stream when the process ends.
	ErrStreamOver = errors.New("the process ends, and with it the stream of events")
)

// Answer is what was answered to a change, for a client that sends the same again.
type Answer struct {
	Status int
	Type   string
	Body   []byte
}
