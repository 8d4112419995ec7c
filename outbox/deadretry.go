package outbox

import (
	"fmt"
	"time"
)

// DeadRetry is the change that brings a dead letter back to pending. Everything else of the document stays, its history
// and last_error among it.
type DeadRetry struct {
	MaxAttempts int  // the new value of max_attempts: what was used, and as many again as the kind's policy allows
	Generation  int  // the new value of generation
	NewKeys     bool // the generation was raised: progress and first_attempt_at belong to the old keys and are removed
}

// Refusal says why a dead letter may not be retried. Its text is for the operator.
type Refusal struct {
	Intent ID
	Why    string
}

// Error returns the reason with the intent's id.
func (r *Refusal) Error() string { return fmt.Sprintf("intent %s is not retried: %s", r.Intent, r.Why) }

// RetryDead says how a dead letter may be retried now, or returns a *Refusal: whatever could double an effect, or could
// only fail again, is refused.
//
// A retry after the provider's final no raises the generation, so that the provider does not replay its old answer; that
// is done only where the no is known to have had no effect. In every other case the keys stay.
func RetryDead(in *Intent, p Policy, now time.Time) (DeadRetry, error) {
	refuse := func(format string, args ...any) (DeadRetry, error) {
		return DeadRetry{}, &Refusal{in.ID, fmt.Sprintf(format, args...)}
	}
	if in.Status != StatusDead {
		return refuse("it is %s, not dead", in.Status)
	}
	if len(in.Problems) > 0 {
		return refuse("it breaks the contract (%s); mend the producer and write a new intent", in.Problems[0])
	}
	if in.Expired(now) {
		return refuse("its expires_at has passed, so it would never be sent; write a new intent if it is still wanted")
	}
	if in.Attempts >= maxAttempts {
		return refuse("it has used %d attempts, the most there can be; write a new intent", in.Attempts)
	}
	retry := DeadRetry{MaxAttempts: min(maxAttempts, in.Attempts+p.Retry.MaxAttempts), Generation: in.Generation}
	if !p.AsksFirst && !in.AmbiguousAt.IsZero() {
		return refuse("nobody knows whether the provider acted, so sending it again could do it twice; ask the provider, and write a new intent if it did not act")
	}
	switch in.DeadReason {
	case ReasonAmbiguous: // of a charge: the delivery asks first
		return retry, nil
	case ReasonPermanent:
		switch in.lastCode() {
		case "":
			return refuse("the code of the provider's final no is not known, so nothing says that it had no effect; ask the provider, and write a new intent")
		case CodeKeyReused:
			return refuse("the provider knows its key with another request, whose outcome stands; find that one at the provider")
		case CodeActionRequired:
			return refuse("the customer may still complete this payment at the provider, and a new one would be a second; cancel it there and write a new intent")
		}
		if !in.AmbiguousAt.IsZero() { // an earlier attempt is still unknown: under its keys the delivery asks first
			return retry, nil
		}
		retry.Generation++
		retry.NewKeys = true
		return retry, nil
	case ReasonExhausted, ReasonInvalid, ReasonExpired:
		// Invalid: it keeps the contract now, since a rule of the deployment was mended. Expired: a person moved
		// expires_at. Neither was sent.
		return retry, nil
	default:
		return refuse("its dead_reason is unknown")
	}
}
