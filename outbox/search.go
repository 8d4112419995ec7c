package outbox

import "time"

// Stage is where an intent stands, as people ask for it. It tells more than a [Status] of what is not finished.
type Stage string

// The stages that a [Search] knows.
const (
	StageWaiting   Stage = "waiting"  // not finished: pending or leased
	StageInDoubt   Stage = "in-doubt" // not finished, and nobody knows whether the provider acted
	StageDone      Stage = "done"
	StageDead      Stage = "dead"
	StageCancelled Stage = "cancelled"
)

// Search chooses intents for people. Fields that are set must all fit; its zero value fits nothing, for no index serves
// it.
type Search struct {
	ID           string // the beginning of an _id that is a string, or a whole _id as text
	Kind         string
	Stage        Stage
	Reason       DeadReason        // of dead letters
	Code         string            // of last_error, of dead letters
	ProviderCode string            // of last_error, of dead letters
	Metadata     map[string]string // values by key
	ProviderID   string            // the provider's own id of the effect, in result.id
	Since        time.Time         // of dead letters: dead since then; of done and cancelled ones: since their end
	Until        time.Time         // of dead letters: dead by then; zero: no bound

	After string // the Next of the page before; empty: the first page
	Limit int    // of a page, 1 to 500; 0: 50
}

// Snapshot is an intent as it was read. A change that rests on it is written only where the intent is still that.
type Snapshot struct {
	*Intent
	// State is the store's own: what it compares.
	State any
	// Name is the text by which a person names exactly this intent.
	Name string
}

// Hand is who makes a change by hand, and why.
type Hand struct {
	By, Why string
	Job     string    // the job that the change belongs to; empty: none
	Due     time.Time // of a retry: when it becomes due; zero: at once
}

// Page is one page of a list.
type Page struct {
	Items []Snapshot
	Next  string // for [Search.After]; empty: this is the last page. A page with a Next may have few rows, or none
}

// Group is the dead letters of one kind, reason and code.
type Group struct {
	Kind         string
	Reason       DeadReason
	Code         string // of last_error; empty: none
	ProviderCode string // of last_error; empty: none
	Count        Count
	First, Last  time.Time // the oldest and the newest death
	Example      ID        // the newest
}

// GroupCap is where the count of a [Group] stops.
const GroupCap = 1000

// NotIndexed is a [Search] that no index serves. It would read the whole outbox, so it is refused.
type NotIndexed struct {
	Field string // what no index serves: "metadata.order", "result.id", "nothing"
}

// Error says what to do.
func (e *NotIndexed) Error() string {
	if e.Field == "nothing" {
		return "the search names nothing that an index serves: give an id, a stage, or a kind"
	}
	return "no index serves " + e.Field + ", so the search would read the whole outbox; create an index that begins with it, or leave it out"
}
