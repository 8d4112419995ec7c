package outbox

import (
	"fmt"
	"time"
)

// PersonVerdict is a person's answer to the question whether the provider acted.
type PersonVerdict struct {
	Sent     bool   // it did; otherwise it surely did not
	Evidence string // of what was sent: the provider's own reference
	Why      string // how the person knows
	By       string // the person
}

// Verdict returns the answer as resolved.verdict holds it.
func (a PersonVerdict) Verdict() string {
	if a.Sent {
		return verdictSent
	}
	return verdictNotSent
}

// Resolution is the change that a [PersonVerdict] makes.
type Resolution struct {
	PersonVerdict
	// Again says that the document holds this answer already and nothing is left to do.
	Again bool
	// Outcome is what is left to be written of what was sent, with its follow-ups and write_back; nil of what was not.
	Outcome *Outcome
	// Reason is the new dead_reason of what was not sent. It stays a dead letter, which [RetryDead] takes.
	Reason DeadReason
}

// Resolve says what a person's answer makes of an intent, or returns a *[Refusal]. Only a dead letter whose outcome is
// ambiguous takes an answer. A pending one is refused: the worker asks the provider about it, and a person's answer in
// between could cross the provider's own.
func Resolve(in *Intent, a PersonVerdict, p Policy, now time.Time) (Resolution, error) {
	refuse := func(format string, args ...any) (Resolution, error) {
		return Resolution{}, &Refusal{Intent: in.ID, Change: "resolved", Why: fmt.Sprintf(format, args...)}
	}
	if in.answeredBy(a, p) {
		return Resolution{PersonVerdict: a, Again: true}, nil
	}
	switch {
	case in.Status == StatusPending && in.doubt(p) != "":
		return refuse("a worker is still asking the provider, and ends it as done or dead by itself; answer if it ends dead and ambiguous")
	case in.Status == StatusLeased:
		return refuse("a worker holds it; try again once it is dead")
	case in.Status != StatusDead:
		return refuse("it is %s, so nothing about it is ambiguous", in.Status)
	case in.Document["outcome"] != nil:
		return refuse("its outcome is recorded, and a worker only has to write it")
	case in.effect() != "":
		return refuse("the provider has it already: %s", in.effect())
	case in.doubt(p) == "":
		return refuse("its outcome is known (%s), so there is nothing to answer", in.DeadReason)
	}
	if !a.Sent {
		reason := in.DeadReason
		if reason == ReasonAmbiguous {
			reason = ReasonExhausted
		}
		return Resolution{PersonVerdict: a, Reason: reason}, nil
	}
	if problem, configuration := in.problem(); configuration {
		return Resolution{}, &Refusal{Intent: in.ID, Change: "resolved", Why: "its write_back would be left out (" + problem + ")", Configuration: true}
	}
	return Resolution{PersonVerdict: a, Outcome: &Outcome{
		Event: Delivered, Class: Done, Attempts: in.Attempts, At: now, Receipt: &Receipt{Provider: in.provider(), ID: a.Evidence},
	}}, nil
}

// answeredBy reports whether the intent shows that the same answer was given and carried out.
func (in *Intent) answeredBy(a PersonVerdict, p Policy) bool {
	if in.verdict() != a.Verdict() {
		return false
	}
	resolved, _ := in.Document["resolved"].(map[string]any)
	evidence, _ := resolved["evidence"].(string)
	if a.Sent { // pending: a worker writes what could not be written at once
		return evidence == a.Evidence && (in.Status == StatusDone || in.Status == StatusPending && in.Outcome.valid())
	}
	return in.Status == StatusDead && in.doubt(p) == "" && !in.RetriedAt.After(in.answeredAt())
}

// provider names the provider that an attempt of the intent called.
func (in *Intent) provider() string {
	failure, _ := in.Document["last_error"].(map[string]any)
	if name, _ := failure["provider"].(string); name != "" {
		return name
	}
	switch in.Kind { // of the kinds that outboxd ships
	case KindCharge:
		return "stripe"
	case KindEmail:
		return "sendgrid"
	case KindSMS:
		return "twilio"
	default:
		return "unknown"
	}
}
