package outbox

import (
	"slices"
	"time"
)

// Kinds of effects that outboxd ships a payload for.
const (
	KindCharge = "charge"
	KindEmail  = "email"
	KindSMS    = "sms"
)

// Status is an intent's place in its life.
type Status string

// The statuses of an intent.
const (
	StatusPending   Status = "pending"
	StatusLeased    Status = "leased"
	StatusDone      Status = "done"
	StatusDead      Status = "dead"
	StatusCancelled Status = "cancelled"
)

// Final reports whether nothing follows the status by itself.
func (s Status) Final() bool { return s == StatusDone || s == StatusDead || s == StatusCancelled }

// DeadReason says why an intent is a dead letter.
type DeadReason string

// The reasons of a dead letter.
const (
	ReasonPermanent DeadReason = "permanent" // the provider's final no
	ReasonExhausted DeadReason = "exhausted" // no attempt left; the last one surely had no effect
	ReasonExpired   DeadReason = "expired"   // expires_at passed before it was sent
	ReasonAmbiguous DeadReason = "ambiguous" // nobody can know whether the provider acted
	ReasonInvalid   DeadReason = "invalid"   // the document breaks the contract
)

// Ambiguity is what to do when nobody can know whether the provider acted.
type Ambiguity string

// The policies for an ambiguous outcome.
const (
	Retry     Ambiguity = "retry"     // repeat the same request, under the same key where the provider has keys
	Reconcile Ambiguity = "reconcile" // ask the provider; repeat only when it surely did not act
	Park      Ambiguity = "park"      // dead letter at once, for a person
)

// Lease is one worker's right to attempt an intent, until the instant in the document's due_at.
type Lease struct {
	Token     string    // new for each claim; fences every later write
	Owner     string    // the worker
	At        time.Time // the claim, by the database's clock
	Reclaimed bool      // the lease before this one ran out, so its holder may have called the provider
}

// What is the sort of a [Record].
type What string

// The sorts of records in an intent's history. A record without one is an attempt.
const (
	WhatAttempt          What = "attempt"            // a call that may have had the effect
	WhatLookUp           What = "lookup"             // a question about an earlier attempt
	WhatRetry            What = "retry"              // a person made a dead letter pending again
	WhatResolve          What = "resolve"            // a person told what became of an ambiguous outcome
	WhatCancelAtProvider What = "cancel_at_provider" // the provider's unfinished object was cancelled
	WhatDiscard          What = "discard"            // a person gave a dead letter up
)

// Record is one entry of an intent's history.
type Record struct {
	What         What
	Attempt      int // of an attempt, from 1
	At           time.Time
	Took         time.Duration
	Outcome      Class
	Code         string
	ProviderCode string
	HTTPStatus   int
	RequestID    string
	Ref          string // the provider's object, such as a PaymentIntent
	Worker       string // of what a worker did

	By, Why, Job string // of what a person did

	// First, Last and N are those of look-ups that changed nothing, folded into one record. N is 0 for a record of
	// its own.
	First, Last time.Time
	N           int
}

// isCall reports whether it tells of a call that may have had the effect.
func (r Record) isCall() bool { return r.What == "" || r.What == WhatAttempt }

// isAttempt reports whether it tells of such a call that counts. One that was given back has no number.
func (r Record) isAttempt() bool { return r.isCall() && r.Attempt > 0 }

// ended returns when what it tells of was over: the last of it, where several were folded into one.
func (r Record) ended() time.Time {
	if at := r.At.Add(r.Took); at.After(r.Last) {
		return at
	}
	return r.Last
}

// Outcome is the recorded outcome of an intent that only has to be written. Its status, its follow-ups and its
// write_back could not be written in one transaction yet. An intent with an outcome is never sent again.
type Outcome struct {
	Event    Event      // what was learned
	Reason   DeadReason // of what ends as a dead letter; empty: it ends done
	Receipt  *Receipt   // of what ends done
	Failure  *Failure   // what becomes last_error; may be nil
	Class    Class      // for logs and metrics, see [Decision]
	Attempts int        // the value of attempts
	At       time.Time  // since when only the writing is missing
	Tries    int        // transactions that were tried, the first one included
	Why      string     // why the last one was not made, in our own words
}

// Progress is what must survive a crash between two steps of one effect. Values are strings, int64 or time.Time.
type Progress map[string]any

// valid reports whether the outcome can be written: it is one that a worker recorded, and ends either done or dead.
func (o *Outcome) valid() bool {
	return o != nil && o.Event != 0 && (o.Receipt == nil) != (o.Reason == "")
}

// Receipt is the provider's confirmation that it has the effect; it becomes the field result.
type Receipt struct {
	Provider string // "stripe", "sendgrid", "twilio"
	ID       string // the provider's id of the effect; empty if it accepted without a readable id
	Status   string // the provider's own word for the effect's state at that moment

	RequestID  string // the provider's id of the request; for history alone
	HTTPStatus int    // of the answer; for history alone
}

// Answer is what a provider's records show of an earlier attempt. Neither Found nor Certain: nothing so far, and its
// records may lag behind.
type Answer struct {
	Receipt Receipt  // of what was found
	Found   bool     // the effect is there
	Certain bool     // the effect is not there and can never come: it was cancelled at the provider, or never begun
	Also    []Record // what the look-up did at the provider, for history
}

// Trace is a W3C trace context that the worker's spans continue.
type Trace struct {
	Parent string `bson:"traceparent"`
	State  string `bson:"tracestate,omitempty"`
}

// WriteBack names the business document that is updated in the transaction which settles the intent.
type WriteBack struct {
	Collection string
	ID         any            // the document's _id; may be a reference
	Done, Dead map[string]any // $set on done, on dead; nil leaves the document alone
	Ambiguous  map[string]any // $set instead of Dead where the reason is ambiguous; nil: Dead
}

// Intent is one document of the outbox as a worker sees it. [Parse] makes it; nothing changes it afterwards. It is
// nothing to insert: a producer writes a plain document, or uses module producer.
type Intent struct {
	ID          ID
	Namespace   string // of the outbox that it stands in; the provider knows an intent by this and its ID
	Kind        string
	Status      Status
	DueAt       time.Time
	ExpiresAt   time.Time // zero: never
	Priority    int       // 0 (first) to 3
	DedupKey    string
	MaxAttempts int       // 0: the kind's policy
	OnAmbiguous Ambiguity // empty: the kind's policy
	Payload     any       // *Charge, *Email, *SMS; for another kind its document as it is
	Metadata    map[string]string
	OnDone      []map[string]any // follow-ups as they stand, references unresolved
	OnDead      []map[string]any
	WriteBack   *WriteBack
	Trace       Trace

	Attempts       int // attempts begun, the current one included while leased
	Lease          Lease
	FirstAttemptAt time.Time // zero: none that counted
	FirstDueAt     time.Time // the due_at that the producer wrote; zero: never claimed
	RetriedAt      time.Time // when a person last made it pending again; zero: never
	Retries        int       // how often a person made it pending again
	AmbiguousAt    time.Time // since when nobody knows whether the provider acted; zero: known
	Generation     int
	Progress       Progress
	History        []Record // the last 20 attempts and the last 20 other events
	DeadReason     DeadReason
	Outcome        *Outcome // nil: nothing waits to be written

	// Problems lists what breaks the contract; if there are any, the intent is never sent and the fields above hold
	// only what could be read.
	Problems []Problem

	// Size is the document's size in the database, in bytes; 0 where it is not known.
	Size int

	// Document is the document itself, to which references are resolved.
	Document map[string]any
}

// Key returns the intent's idempotency key for one step of its effect at the provider (contract, "Identity"). It
// holds the namespace, the id's type and the generation, the step, and the id last. So equal ids in two outboxes or
// of two types are different effects, and no id can imitate a generation or a step. The key depends neither on the
// attempt nor on the worker.
func (in *Intent) Key(step string) string {
	return in.Namespace + "/" + in.TypeAndGeneration() + "/" + step + "/" + in.ID.String()
}

// LegacyKey returns the root of the keys that were used before outboxes had namespaces. Progress that was stored
// under it goes on under it.
func (in *Intent) LegacyKey() string {
	if in.Generation == 0 {
		return in.ID.String()
	}
	return in.ID.String() + ":g" + itoa(in.Generation)
}

// Expired reports whether the intent may no longer be sent at the given instant.
func (in *Intent) Expired(now time.Time) bool {
	return !in.ExpiresAt.IsZero() && !now.Before(in.ExpiresAt)
}

// unknown reports whether an earlier attempt may have had its effect without anybody knowing.
func (in *Intent) unknown() bool { return in.Lease.Reclaimed || !in.AmbiguousAt.IsZero() }

// begun reports whether something of the effect stands at the provider already, or may stand there.
func (in *Intent) begun() bool { return len(in.Progress) > 0 || in.unknown() }

// recorded returns the number of the last attempt that history holds, 0 if none.
func (in *Intent) recorded() int {
	for _, r := range slices.Backward(in.History) {
		if r.isAttempt() {
			return r.Attempt
		}
	}
	return 0
}

// lastClass returns the class of the last failure, empty if there is none.
func (in *Intent) lastClass() Class {
	last, _ := in.Document["last_error"].(map[string]any)
	class, _ := last["class"].(string)
	return Class(class)
}

// lastCode returns the code of the last failure. It is empty if there is none, or if the code is not known. If
// last_error tells what went wrong beside the outcome, the outcome's own code is in history, if it was an attempt's.
func (in *Intent) lastCode() string {
	last, _ := in.Document["last_error"].(map[string]any)
	code, _ := last["code"].(string)
	if code != CodeWriteBackMissed && code != CodeFollowUpRefused {
		return code
	}
	for _, r := range slices.Backward(in.History) {
		if !r.isAttempt() {
			continue
		}
		if r.Outcome == Permanent {
			return r.Code
		}
		break
	}
	return ""
}
