package outbox

import "fmt"

// Cancel reports whether an intent may be cancelled: nil, or a *[Refusal] that says why not. Only what surely was not
// sent may be: it waits, nobody holds it, and no trace in it tells of an attempt that may have acted.
func Cancel(in *Intent, p Policy) error {
	refuse := func(format string, args ...any) error {
		return &Refusal{Intent: in.ID, Change: "cancelled", Why: fmt.Sprintf(format, args...)}
	}
	acted := func(format string, args ...any) error {
		return &Refusal{Intent: in.ID, Change: "cancelled", Cause: RefusedMayHaveActed, Why: fmt.Sprintf(format, args...)}
	}
	switch in.Status {
	case StatusPending:
	case StatusLeased:
		return acted("a worker holds it and may be sending it now; try again once it is pending")
	case StatusDead:
		return refuse("it is dead (%s), so nothing sends it any more", in.DeadReason)
	case StatusCancelled:
		return refuse("it is cancelled already")
	default:
		return refuse("it is %s", in.Status)
	}
	if in.Document["outcome"] != nil {
		return acted("its outcome is known, and a worker only has to write it")
	}
	if effect := in.effect(); effect != "" {
		return acted("the provider has it already: %s", effect)
	}
	if doubt := in.doubt(p); doubt != "" {
		return acted("the provider may have acted (%s); a worker finds out what became of it", doubt)
	}
	return nil
}
