package outbox

import "errors"

// ErrLeaseLost is returned by a store when a write was refused because the claim's token no longer holds: the lease ran
// out and the intent was claimed again, or somebody settled it by hand. What the caller was about to do must not be done.
var ErrLeaseLost = errors.New("the lease is lost: the intent was claimed again or changed by hand")
