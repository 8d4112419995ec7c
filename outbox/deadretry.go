package outbox

import (
	"fmt"
	"slices"
	"time"
)

// DeadRetry is the change that brings a dead letter back to pending. Everything else of the document stays: its
// history, its last_error, its progress and first_attempt_at, by which the delivery cancels what an older generation
// left open.
type DeadRetry struct {
	MaxAttempts int  // the new value of max_attempts: what was used, and as many again as the kind's policy allows
	Generation  int  // the new value of generation
	Doubt       bool // an earlier attempt may have acted: ambiguous_at must stand, so that the delivery asks first

	Code string // what it died of, empty if nothing tells
}

// never are the codes of what must not be sent again, whoever asks.
var never = map[string]string{
	CodeOptedOut:       "the recipient has opted out (opted_out); do not send again",
	CodeKeyReused:      "the provider knows its key with another request (key_reused), whose outcome stands; find that one at the provider",
	CodeActionRequired: "the customer may still complete this payment at the provider (action_required), and a new one would be a second; cancel it there and write a new intent",
}

// final are the codes of a no that the same request gets again, unless somebody changed something outside.
var final = []string{CodeDeclined, CodeBadRecipient, CodeRejected, CodeCanceled}

// RetryDead says how a dead letter may be retried now, or returns a *[Refusal]: whatever could double an effect, or
// could only fail again, is refused. It believes no single field: each trace of an ambiguous outcome counts.
//
// A retry after the provider's final no raises the generation, so that the provider does not replay its old answer.
// The generation is raised only if that no surely had no effect. In every other case the keys stay. evenFinal says
// that a person insists on repeating what the provider refused for good.
func RetryDead(in *Intent, p Policy, evenFinal bool, now time.Time) (DeadRetry, error) {
	refuse := func(format string, args ...any) (DeadRetry, error) {
		return DeadRetry{}, &Refusal{Intent: in.ID, Change: "retried", Why: fmt.Sprintf(format, args...)}
	}
	because := func(cause RefusalCause, format string, args ...any) (DeadRetry, error) {
		return DeadRetry{}, &Refusal{Intent: in.ID, Change: "retried", Cause: cause, Why: fmt.Sprintf(format, args...)}
	}
	if in.Status != StatusDead {
		return refuse("it is %s, not dead", in.Status)
	}
	if in.Document["outcome"] != nil {
		return refuse("its outcome is recorded and only has to be written, so somebody set it to dead by hand; set status to pending and due_at to now, and a worker writes it")
	}
	if effect := in.effect(); effect != "" {
		return because(RefusedMayHaveActed, "the provider has it already: %s", effect)
	}
	codes := in.codes()
	for _, code := range codes {
		if why := never[code]; why != "" {
			return because(RefusedFinal, "%s", why)
		}
	}
	doubt := in.doubt(p)
	if doubt != "" && !p.AsksFirst {
		return because(RefusedAmbiguous, "nobody knows whether the provider acted, so sending it again could do it twice (%s); find out at the provider, then answer with `outboxd resolve`", doubt)
	}
	if !evenFinal {
		for _, code := range codes {
			if slices.Contains(final, code) {
				return because(RefusedFinal, "the provider refused it for good (%s), and would again; --even-final insists", code)
			}
		}
	}
	if problem, configuration := in.problem(); problem != "" {
		why := fmt.Sprintf("it breaks the contract (%s); mend the producer and write a new intent", problem)
		return DeadRetry{}, &Refusal{Intent: in.ID, Change: "retried", Why: why, Configuration: configuration}
	}
	if in.Expired(now) {
		return because(RefusedExpired, "its expires_at has passed, so it would never be sent; write a new intent if it is still wanted")
	}
	if in.Attempts >= maxAttempts {
		return refuse("it has used %d attempts, the most there can be; write a new intent", in.Attempts)
	}
	retry := DeadRetry{MaxAttempts: min(maxAttempts, in.Attempts+p.Retry.MaxAttempts), Generation: in.Generation, Doubt: doubt != "", Code: in.lastCode()}
	switch in.DeadReason {
	case ReasonPermanent:
		if !slices.ContainsFunc(Codes(), func(c CodeInfo) bool { return c.Code == retry.Code }) {
			return refuse("the code of the provider's final no is not known, so nothing says that it had no effect; ask the provider, and write a new intent")
		}
		if !retry.Doubt { // with a doubt, the delivery asks about the earlier attempt under its own keys
			retry.Generation++
		}
	case ReasonAmbiguous, ReasonExhausted, ReasonInvalid, ReasonExpired:
		// Ambiguous: of a charge, whose delivery asks first. Invalid: it keeps the contract now, since a rule of the
		// deployment was mended. Expired: a person moved expires_at. The last three had no effect.
	default:
		return refuse("its dead_reason is unknown")
	}
	return retry, nil
}
