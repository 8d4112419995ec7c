package outbox

import "errors"

// ErrLeaseLost is returned by a store if the claim's token no longer holds, so that it refused a write. The lease
// expired and the intent was claimed again, or somebody settled it by hand. What the caller was about to do must not
// be done.
var ErrLeaseLost = errors.New("the lease is lost: the intent was claimed again or changed by hand")

// ErrUnreached is returned by a store if the database could not be reached or did not answer, so that progress may
// not be stored. The intent itself is not the reason.
var ErrUnreached = errors.New("the database did not answer")

// ErrNotFound is returned by a store for an id that no intent has.
var ErrNotFound = errors.New("there is no such intent")

// ErrChanged is returned by a store where what a person wants to change is no longer what was read.
var ErrChanged = errors.New("it was changed meanwhile; look again")
