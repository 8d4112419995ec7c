package outbox

import "errors"

// ErrLeaseLost is returned by a store if the claim's token no longer holds, so that it refused a write. The lease
// expired and the intent was claimed again, or somebody settled it by hand. What the caller was about to do must not
// be done.
var ErrLeaseLost = errors.New("the lease is lost: the intent was claimed again or changed by hand")

// ErrUnreached is returned by a store if the database could not be reached or did not answer, so that progress may
// not be stored. The intent itself is not the reason.
var ErrUnreached = errors.New("the database did not answer")
