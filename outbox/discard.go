package outbox

import "fmt"

// Discard reports whether a dead letter may be discarded: nil, or a *[Refusal] that says why not. A discarded letter
// becomes cancelled, and the database deletes it after a while. What may have been sent is refused, for what is called
// cancelled counts as not sent.
func Discard(in *Intent, p Policy) error {
	refuse := func(format string, args ...any) error {
		return &Refusal{Intent: in.ID, Change: "discarded", Why: fmt.Sprintf(format, args...)}
	}
	if in.Status != StatusDead {
		return refuse("it is %s, not dead", in.Status)
	}
	if in.Document["outcome"] != nil {
		return refuse("its outcome is recorded and only has to be written")
	}
	if effect := in.effect(); effect != "" {
		return refuse("the provider has it already: %s", effect)
	}
	if doubt := in.doubt(p); doubt != "" {
		return &Refusal{Intent: in.ID, Change: "discarded", Cause: RefusedAmbiguous,
			Why: fmt.Sprintf("nobody knows whether the provider acted (%s); find out at the provider, then answer with `outboxd resolve`", doubt)}
	}
	return nil
}
