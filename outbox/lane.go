package outbox

import "time"

// LaneState is what all workers share about one lane: one document of the lanes collection. A kind without a document
// has the zero state, which is open.
type LaneState struct {
	Kind   string
	Paused bool   // a person stopped it
	Why    string // the person's words
	By     string // who paused it

	GateUntil time.Time // the provider asked to wait; database time
	HeldSince time.Time // our credentials or account were refused; zero: not held
	HoldCode  string    // a code of [Codes]

	BrokenUntil time.Time // a worker's breaker is open until then; the others probe instead of rushing
	BrokenBy    string    // that worker

	Rate string // the configured rate of the whole deployment, for show; empty: unlimited

	Limit    float64 // calls a second of the whole deployment that a person set; 0: none. See [EffectiveRate]
	LimitWhy string  // the person's words
	LimitBy  string  // who set it
}

// Worker is one live process in the registry of workers.
type Worker struct {
	Name     string
	Kinds    []string
	InFlight map[string]int // by kind
	Started  time.Time
	Seen     time.Time
	Version  string
}
