package outbox

import "fmt"

// Refusal says why an intent is left as it is, although a person asked for a change. Its text is for the operator.
type Refusal struct {
	Intent ID
	Change string // what was asked for: "retried", "resolved", "cancelled", "discarded"
	Why    string // what is in the way, and what to do

	// Configuration says that only the deployment's configuration is in the way: the write_back names a collection that
	// [Rules] do not allow.
	Configuration bool

	// Cause is what is in the way, for programs; empty where only Why tells.
	Cause RefusalCause
}

// RefusalCause is the sort of thing that is in the way of a change.
type RefusalCause string

// The causes that programs tell apart.
const (
	RefusedMayHaveActed RefusalCause = "may_have_acted"          // the provider has it, or may have it
	RefusedAmbiguous    RefusalCause = "ambiguous_needs_verdict" // a person has to find out whether it was sent
	RefusedFinal        RefusalCause = "final_for_recipient"     // the provider refused it for good
	RefusedExpired      RefusalCause = "expired"                 // its time is over
)

// Error returns the reason with the intent's id.
func (r *Refusal) Error() string {
	return fmt.Sprintf("intent %s is not %s: %s", r.Intent, r.Change, r.Why)
}

// problem returns what breaks the contract, and whether that is the deployment's configuration alone. It is empty if
// nothing does.
func (in *Intent) problem() (text string, configuration bool) {
	for _, p := range in.Problems {
		if p.Path != pathCollection {
			return p.String(), false
		}
		text, configuration = p.String(), true
	}
	return text, configuration
}

// pathCollection is where [Parse] reports a collection that the rules do not allow.
const pathCollection = "write_back.collection"
