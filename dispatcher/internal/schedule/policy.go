package schedule

import "time"

// Policy holds what the rules are tuned by. A zero switches the rule of its field off, where the field says so.
// docs/decisions/0010 tells what each one gains, and how that was measured.
type Policy struct {
	// Poll is how long a lane without work rests where no hints come.
	Poll time.Duration
	// Seldom is for how long a lane without work asks ahead what becomes due, where hints come.
	Seldom time.Duration
	// BusyPoll is how long a lane of a busy worker rests after it found nothing.
	BusyPoll time.Duration

	// Spread is, for each other worker, the most that a lane waits after a hint, up to SpreadMost. All of them get the
	// hint, and whoever comes first takes what it named; the others then find nothing instead of a conflict. 0: it does
	// not wait.
	Spread, SpreadMost time.Duration
	// Merge is how long a hint waits for others while a claim of named intents is under way. 0: it does not wait.
	Merge time.Duration
	// NamedClaims is how many claims of named intents may be under way. They take different intents, so none waits
	// for another. 0: hints are a reason to look, whatever they name.
	NamedClaims int
	// MostNamed is how many intents hints may name; more are a reason to look for whatever is due.
	MostNamed int

	// Spacing is the least time between two claims of a busy lane without a backlog: while the database works on one,
	// the next finds what has come since. It is half of what the last claim took, up to SpacingMost: a claim that a
	// failover made long says nothing about the next. 0: there is none.
	Spacing, SpacingMost time.Duration
	// Gather is how long a lane with a backlog waits until three quarters of its slots are free, so that claims are
	// large. 0: it does not wait.
	Gather time.Duration
	// PairedFrom is from how many slots on a lane may have two claims under way: while the database works on one,
	// what the other brought is delivered. 0: never.
	PairedFrom int
	// Worth is how many intents a claim of a busy lane without a backlog has to find to make a second one worth while:
	// what comes must not wait for a claim that the database is slow with.
	Worth int
	// Ahead is for how long a lane that may have two claims takes intents beyond its free slots, as many as it has
	// carried out in such a time before. 0: it takes none.
	Ahead time.Duration
	// AheadMost is how long an intent waits for a slot at most. It is given back then: calls are not quick any more.
	AheadMost time.Duration

	// Backoff is how long a lane rests after a failed claim, doubling to BackoffMost.
	Backoff, BackoffMost time.Duration
	// MostBytes bounds the size of what a lane has claimed, with one claim more. Documents may have 16 MiB, and many
	// slots full of them would take more memory than a worker has.
	MostBytes int
}

// Default returns the policy that workers have.
func Default() Policy {
	return Policy{
		Poll: time.Second, Seldom: 15 * time.Second, BusyPoll: 50 * time.Millisecond,
		Spread: time.Millisecond, SpreadMost: 10 * time.Millisecond, Merge: time.Millisecond, NamedClaims: 2, MostNamed: 64,
		Spacing: 25 * time.Millisecond, SpacingMost: 250 * time.Millisecond, Gather: 5 * time.Millisecond,
		PairedFrom: 64, Worth: 8, Ahead: 100 * time.Millisecond, AheadMost: time.Second,
		Backoff: 250 * time.Millisecond, BackoffMost: 5 * time.Second, MostBytes: 32 << 20,
	}
}
