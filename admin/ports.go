package admin

import (
	"context"
	"time"

	"github.com/outboxd/outboxd/outbox"
)

// Reader finds intents. No call reads more than a bounded part of an index.
type Reader interface {
	// Find returns one page of the intents that fit, or an [outbox.NotIndexed].
	Find(ctx context.Context, s outbox.Search) (outbox.Page, error)
	// Look returns the intent that a person means by the text, or [outbox.ErrNotFound].
	Look(ctx context.Context, name string) (outbox.Snapshot, error)
	// Groups returns the groups of dead letters of a kind, of all kinds if it is empty.
	Groups(ctx context.Context, kind string) ([]outbox.Group, error)
}

// State tells how the outbox stands.
type State interface {
	Census(ctx context.Context) (outbox.Census, error)
	Rates(ctx context.Context, kind string, from, until time.Time) ([]outbox.RateMinute, error)
	// RatesBy returns the rates summed up by steps. The Minute of each is where its step begins.
	RatesBy(ctx context.Context, kind string, from, until time.Time, step time.Duration) ([]outbox.RateMinute, error)
	Lanes(ctx context.Context) (map[string]outbox.LaneState, error)
	Workers(ctx context.Context) ([]outbox.Worker, error)
	// Now returns the database's time.
	Now() time.Time
}

// Operator makes changes by hand. Each is written only where the intent is still the snapshot; otherwise the error
// wraps [outbox.ErrChanged].
type Operator interface {
	Retry(ctx context.Context, in outbox.Snapshot, retry outbox.DeadRetry, hand outbox.Hand) error
	Resolve(ctx context.Context, in outbox.Snapshot, r outbox.Resolution) (outbox.Settled, error)
	Cancel(ctx context.Context, in outbox.Snapshot) error
	Discard(ctx context.Context, in outbox.Snapshot, hand outbox.Hand) error
}

// Controls are what a person can do to a lane, on all workers.
type Controls interface {
	Pause(ctx context.Context, kind, why, by string) error
	Resume(ctx context.Context, kind string) error
	Limit(ctx context.Context, kind string, perSecond float64, why, by string) error
	Unlimit(ctx context.Context, kind string) error
}

// Jobs keeps bulk jobs.
type Jobs interface {
	AddJob(ctx context.Context, j outbox.Job) error
	// Job returns a job, or [outbox.ErrNotFound].
	Job(ctx context.Context, id string) (outbox.Job, error)
	// Jobs returns the newest jobs first.
	Jobs(ctx context.Context, limit int) ([]outbox.Job, error)
	// SaveJob writes a job if it still has the version that was read, and returns it with its new version. Otherwise
	// the error wraps [outbox.ErrChanged].
	SaveJob(ctx context.Context, j outbox.Job) (outbox.Job, error)
	// LeaseJob takes a running job that nobody holds. ok is false where there is none.
	LeaseJob(ctx context.Context, owner string, lease time.Duration) (j outbox.Job, ok bool, err error)
}

// Audit keeps the records of what people did.
type Audit interface {
	// Begin records acts before they are carried out. It returns once a majority has them, with their IDs and instants.
	Begin(ctx context.Context, acts ...outbox.Act) ([]outbox.Act, error)
	// End records how acts ended: After, Outcome and Code.
	End(ctx context.Context, acts ...outbox.Act) error
	// Acts returns records, the newest first.
	Acts(ctx context.Context, f outbox.ActFilter) ([]outbox.Act, error)
}

// Prober asks a provider what its own records show of an intent. It changes nothing there.
type Prober interface {
	Ask(ctx context.Context, in *outbox.Intent) (Evidence, error)
}

// Doctor checks the deployment.
type Doctor interface {
	Diagnose(ctx context.Context) ([]Line, error)
}

// Line is one line of a diagnosis.
type Line struct {
	Check string
	OK    bool
	Text  string
}

// Evidence is what a provider's records show.
type Evidence struct {
	At         time.Time
	Provider   string
	Text       string // in a sentence, without personal data
	Found      bool
	Receipt    outbox.Receipt // of what was found
	Candidates []Candidate    // what may be it
}

// Candidate is a record of the provider's that may be the intent's effect.
type Candidate struct {
	ID     string
	At     time.Time
	Status string
	Text   string // masked
}
