package outbox

import "time"

// ClaimOrder asks a store for intents to attempt.
type ClaimOrder struct {
	Kind  string
	Limit int           // at most so many, at least 1
	Lease time.Duration // from the database's now
	Owner string        // the worker's name
}

// Settlement asks a store to write what was decided about a claimed intent, if the claim's token still holds.
type Settlement struct {
	Intent   *Intent // as it was claimed
	Decision Decision
	Took     time.Duration // of the attempt
}

// Settled is a store's answer to one [Settlement].
type Settled struct {
	// Lost says that the token no longer held: another worker has claimed the intent since. Nothing was written.
	Lost bool
	// Notes lists what went wrong beside the outcome, which is written all the same: a write_back without a target, a
	// follow-up that was refused.
	Notes []string
}
