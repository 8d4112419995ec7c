package outbox

import "errors"

// ErrLeaseLost is returned by a store when a write was refused because the claim's token no longer holds: the lease
// ran out and the intent was claimed again, or somebody settled it by hand. What the caller was about to do must not
// be done.
var ErrLeaseLost = errors.New("the lease is lost: the intent was claimed again or changed by hand")

// ErrUnreached is returned by a store where progress may not be stored because the database could not be reached, or
// did not answer: not because of anything about the intent.
var ErrUnreached = errors.New("the database did not answer")
