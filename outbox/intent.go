package outbox

import "time"

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

// Record is one entry of an intent's history: an attempt that counted.
type Record struct {
	Attempt int
	At      time.Time
	Took    time.Duration
	Outcome Class
	Code    string
	Worker  string
}

// Progress is what must survive a crash between two steps of one effect. Values are strings, int64 or time.Time.
type Progress map[string]any

// Receipt is the provider's confirmation that it has the effect; it becomes the field result.
type Receipt struct {
	Provider string // "stripe", "sendgrid", "twilio"
	ID       string // the provider's id of the effect; empty if it accepted without a readable id
	Status   string // the provider's own word for the effect's state at that moment
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
}

// Intent is one document of the outbox as a worker sees it. [Parse] makes it; nothing changes it afterwards.
type Intent struct {
	ID          ID
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
	AmbiguousAt    time.Time // since when nobody knows whether the provider acted; zero: known
	Generation     int
	Progress       Progress
	History        []Record // the last 20
	DeadReason     DeadReason

	// Problems lists what breaks the contract; if there are any, the intent is never sent and the fields above hold
	// only what could be read.
	Problems []Problem

	// Document is the document itself, to which references are resolved.
	Document map[string]any
}

// Key returns the root of the intent's provider idempotency keys: its id's text, and its generation if that was raised.
// It depends neither on the attempt nor on the worker.
func (in *Intent) Key() string {
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

// recorded returns the number of the last attempt that history holds, 0 if none.
func (in *Intent) recorded() int {
	if len(in.History) == 0 {
		return 0
	}
	return in.History[len(in.History)-1].Attempt
}

// lastCode returns the code of the last failure, empty if there is none or it cannot be told: where last_error tells what
// went wrong beside the outcome, the outcome's own code is in history, if it was an attempt's.
func (in *Intent) lastCode() string {
	last, _ := in.Document["last_error"].(map[string]any)
	code, _ := last["code"].(string)
	if code != CodeWriteBackMissed && code != CodeFollowUpRefused {
		return code
	}
	if n := len(in.History); n > 0 && in.History[n-1].Outcome == Permanent {
		return in.History[n-1].Code
	}
	return ""
}
