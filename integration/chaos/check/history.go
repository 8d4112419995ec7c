package check

import (
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers/simulator"
)

// The results of a transaction as its producer knows them.
const (
	Begun     = "begun" // nothing was heard since
	Committed = "committed"
	Aborted   = "aborted"
	Unknown   = "unknown"
)

// Entry is a line of the producers' journal: what became of a transaction. The last line of a transaction counts.
type Entry struct {
	At      time.Time `json:"at"`
	Order   string    `json:"order"` // the business document, inserted in the same transaction
	Result  string    `json:"result"`
	Intents []Intent  `json:"intents,omitempty"` // in the line that says begun
}

// Intent is one that a producer wrote, or that an intent brings along.
type Intent struct {
	ID          string    `json:"id"`
	Kind        string    `json:"kind"`
	Policy      string    `json:"policy"` // what happens to an ambiguous outcome
	MaxAttempts int       `json:"max_attempts"`
	Due         time.Time `json:"due,omitzero"`
	Expires     time.Time `json:"expires,omitzero"`
	Refused     bool      `json:"refused,omitempty"`    // the provider's answer is no
	Oversized   bool      `json:"oversized,omitempty"`  // its follow-ups come to more than may be
	WriteBack   bool      `json:"write_back,omitempty"` // to the order
	Shared      string    `json:"shared,omitempty"`     // the document, shared by many, to which it writes back instead
	OnDone      []Intent  `json:"on_done,omitempty"`
	OnDead      []Intent  `json:"on_dead,omitempty"`
}

// Doc is an intent's document, as far as it is looked at.
type Doc struct {
	ID          string    `bson:"_id"`
	Kind        string    `bson:"kind"`
	Status      string    `bson:"status"`
	Attempts    int       `bson:"attempts"`
	DueAt       time.Time `bson:"due_at,omitempty"`
	ExpiresAt   time.Time `bson:"expires_at,omitempty"`
	Lease       *Lease    `bson:"lease,omitempty"`
	AmbiguousAt time.Time `bson:"ambiguous_at,omitempty"`
	DeadReason  string    `bson:"dead_reason,omitempty"`
	Result      *Result   `bson:"result,omitempty"`
	LastError   *Error    `bson:"last_error,omitempty"`
	History     []Record  `bson:"history,omitempty"`
	Progress    *Progress `bson:"progress,omitempty"`
	Outcome     *Outcome  `bson:"outcome,omitempty"`
}

// attempts are the records of history that tell of attempts. The others tell of look-ups and of what people did.
func (d *Doc) attempts() []Record {
	var list []Record
	for _, r := range d.History {
		if r.Attempt > 0 && (r.What == "" || r.What == string(outbox.WhatAttempt)) { // a call that was given back has no number
			list = append(list, r)
		}
	}
	return list
}

// Final reports whether nothing follows by itself.
func (d *Doc) Final() bool { return outbox.Status(d.Status).Final() }

func (d *Doc) end() string {
	if d.DeadReason == "" {
		return d.Status
	}
	return d.Status + "/" + d.DeadReason
}

// Lease is who holds an intent.
type Lease struct {
	Token     string    `bson:"token"`
	Owner     string    `bson:"owner"`
	At        time.Time `bson:"at"`
	Reclaimed bool      `bson:"reclaimed"`
}

// Outcome is what is known of an intent and only has to be written.
type Outcome struct {
	Event   string  `bson:"event"`
	Reason  string  `bson:"reason,omitempty"` // empty: it ends done
	Receipt *Result `bson:"receipt,omitempty"`
}

// leadsTo reports whether the end is the one that was recorded.
func (o *Outcome) leadsTo(end *Doc) bool {
	if o.Reason != "" {
		return end.Status == string(outbox.StatusDead) && end.DeadReason == o.Reason
	}
	return end.Status == string(outbox.StatusDone) && (o.Receipt == nil || end.Result != nil && *end.Result == *o.Receipt)
}

// Result is a receipt.
type Result struct {
	Provider string `bson:"provider"`
	ID       string `bson:"id"`
}

// Error is the last thing that went wrong.
type Error struct {
	Class string `bson:"class"`
	Code  string `bson:"code"`
}

// Progress is what a charge keeps between its steps.
type Progress struct {
	Confirm int `bson:"confirm"` // which confirmation key is in use, from 1
}

// Record is an entry of history.
type Record struct {
	What    string    `bson:"what,omitempty"` // empty: an attempt
	Attempt int       `bson:"attempt"`
	At      time.Time `bson:"at,omitempty"`
	Outcome string    `bson:"outcome"`
	Code    string    `bson:"code,omitempty"`
	Worker  string    `bson:"worker,omitempty"`
}

// Order is a business document.
type Order struct {
	ID      string `bson:"_id"`
	State   string `bson:"state"`
	Receipt string `bson:"receipt,omitempty"`
	Why     string `bson:"why,omitempty"`
	Code    string `bson:"code,omitempty"`
}

// Hand is what a person did to an intent, or tried to do. Where nobody knows whether it was done, it may have been.
type Hand struct {
	ID   string
	What string // Unlock or Cancel
}

// What people do to intents by hand.
const (
	Unlock = "unlock" // set a leased one to pending
	Cancel = "cancel" // the documented update
)

// Change is one event of the change stream on the outbox. Both documents are there but for an insert (no Before) and a
// delete (no After).
type Change struct {
	Time   bson.Timestamp // equal for all changes of one transaction
	Txn    string         // empty outside of transactions
	Before *Doc
	After  *Doc
}

// Worker is one process.
type Worker struct {
	Name    string    `json:"name"` // as in leases; empty if it never served
	Slot    int       `json:"slot"`
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended,omitzero"` // zero: it never did
	Told    string    `json:"told,omitempty"` // how it was made to end: "kill" or "term"; empty: it was not
	Code    int       `json:"code"`           // its exit code
	Frozen  []Span    `json:"frozen,omitempty"`
	Drained bool      `json:"drained,omitempty"` // nothing was wrong while it was told to end: its exit code must be 0
	Calls   []Call    `json:"calls,omitempty"`   // the long ones, by its log
}

// Call is what was done under one claim, as its worker told of it.
type Call struct {
	ID   string        `json:"id"` // of the intent
	Kind string        `json:"kind"`
	Told time.Time     `json:"told"` // when its outcome was written; it ended before
	Took time.Duration `json:"took"` // by the worker's monotonic clock
}

// Span is a time.
type Span struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// Overlaps reports whether the span and the time from one instant to another have a moment in common.
func (s Span) Overlaps(from, to time.Time) bool { return s.From.Before(to) && from.Before(s.To) }

// Trouble is a time in which the database, or the way of one slot's worker to it, was not as it should be.
type Trouble struct {
	Span
	Slot int    `json:"slot"` // the slot's way; -1: the database itself
	What string `json:"what"`
}

// History is what everybody saw of one run.
type History struct {
	Journal []Entry
	Docs    map[string]*Doc
	Orders  map[string]Order
	// Shared are the documents to which many intents write back: what each has of which intent.
	Shared map[string]map[string]string
	Hands  []Hand
	// Namespace is the outbox's, which keys begin with; empty: keys are of the form that was in use before.
	Namespace string
	Effects   []simulator.Effect
	Changes   []Change
	Workers   []Worker
	Troubles  []Trouble
	Delays    []Span // when the network or the providers kept requests from being processed
	Rules     Rules
	End       time.Time // by the database's clock: when Docs was read
}

// Rules are the numbers of the run.
type Rules struct {
	Lease   map[string]time.Duration // of each kind
	Expiry  time.Duration            // the lease under which an expired intent is settled
	Timeout time.Duration            // of a delivery
	Fence   time.Duration            // what a lease must have left, beside Timeout, for a call to begin
	// Delay is the longest that the network and the provider kept a request from being processed, in the times of
	// Delays.
	Delay time.Duration
	// Recovery is how long after trouble a worker may need to write an outcome that it holds.
	Recovery time.Duration
	// Skew is how far apart the clocks of database, provider and harness may be.
	Skew time.Duration
}
