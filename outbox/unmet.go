package outbox

import "time"

// DefaultGiveUp is [RetryPolicy.GiveUp] where a policy does not say.
const DefaultGiveUp = 72 * time.Hour

// Bounds of the wait of an intent that was given back because the provider let it not in, or did not answer. It
// doubles with each time. It stays short: the lane itself asks one intent at a time, and what waits shall run soon
// when that ends.
const (
	unmetBase = time.Second
	unmetMost = time.Minute
)

// LastFailure returns the class, the code and the instant of last_error. They are zero if there is none.
func (in *Intent) LastFailure() (Class, string, time.Time) {
	last, _ := in.Document["last_error"].(map[string]any)
	class, _ := last["class"].(string)
	code, _ := last["code"].(string)
	at, _ := last["at"].(time.Time)
	return Class(class), code, at
}

// RefusedAt returns when the provider last refused the intent, if nothing else has happened to it since; else zero.
func (in *Intent) RefusedAt() time.Time {
	if class, code, at := in.LastFailure(); class == Hold || code == CodeRefused {
		return at
	}
	return time.Time{}
}

// UnansweredAt returns when the provider last gave the intent no answer, if nothing else has happened to it since;
// else zero.
func (in *Intent) UnansweredAt() time.Time {
	if _, code, at := in.LastFailure(); unanswered[code] {
		return at
	}
	return time.Time{}
}

// unanswered are the codes of calls to which nobody answered who could carry them out.
var unanswered = map[string]bool{
	CodeNotSent: true, CodeNoAnswer: true, CodeBadAnswer: true, CodeRedirected: true, CodeServerError: true, CodeUnavailable: true,
}

// Unanswered reports whether the failure says that the provider is away: the request did not reach it, or nothing came
// back but a server error.
func (f *Failure) Unanswered() bool {
	return (f.Class == Transient || f.Class == Ambiguous) && unanswered[f.Code]
}

// refused: the provider let the intent not in. Whether that is for its own sake or for the lane's shows only by what
// happens to others, which the lane knows.
func (d decision) refused(f *Failure, alone bool) Decision {
	if !alone {
		d = d.givenBack(Hold).fails(f)
		d.Hold = true
		class, _, _ := d.in.LastFailure()
		return d.unmet(d.growing(class == Hold))
	}
	own := *f
	own.Class, own.Code = Transient, CodeRefused
	own.Message = "the provider refuses this intent while it lets others pass"
	d = d.counted(Transient).fails(&own)
	if d.Attempts < d.max {
		return d.again(max(d.backoff(), unmetBase))
	}
	if !d.in.unknown() {
		own.Class, d.Outcome = Permanent, Permanent
	}
	return d.unless(ReasonPermanent)
}

// unanswered: nobody answered the call, and nobody answers others either, or it never left. It is no attempt.
func (d decision) unanswered(f *Failure) Decision {
	delay := max(d.growing(!d.in.UnansweredAt().IsZero()), clamp(f.RetryAfter))
	if f.Class != Ambiguous {
		return d.givenBack(Transient).fails(f).unmet(delay)
	}
	d = d.givenBack(Ambiguous).fails(f)
	d.Ambiguous, d.Noted = SetMark, true
	switch {
	case !d.p.AsksFirst && d.p.ambiguity(d.in) == Reconcile:
		return d.again(d.p.Reconcile.Wait)
	case !d.givenUp():
		return d.again(delay)
	case d.p.AsksFirst:
		return d.asksForTheLastTime()
	default:
		return d.ends(ReasonAmbiguous)
	}
}

// unmet tries again what was given back, until retry.give_up.
func (d decision) unmet(delay time.Duration) Decision {
	switch {
	case !d.givenUp():
		return d.again(delay)
	case d.p.AsksFirst: // it may have left something unfinished at the provider
		return d.asksForTheLastTime()
	default:
		return d.unless(ReasonExhausted)
	}
}

// asksForTheLastTime takes all attempts that are left: what follows are look-ups, and what those find or cannot tell
// ends it.
func (d decision) asksForTheLastTime() Decision {
	d.Attempts = max(d.max, d.in.recorded())
	return d.again(d.p.Reconcile.Wait)
}

// growing returns the wait before an intent is tried again that was given back: twice as long as since the last time.
func (d decision) growing(again bool) time.Duration {
	_, _, at := d.in.LastFailure()
	if !again || at.IsZero() {
		return unmetBase
	}
	return min(max(unmetBase, 2*min(d.now.Sub(at), unmetMost)), unmetMost)
}

// givenUp reports whether the intent could not be attempted for as long as the policy allows. That counts from when
// it was first claimed, first due, or made pending again by a person, whichever is latest.
func (d decision) givenUp() bool {
	from := d.in.FirstAttemptAt
	for _, at := range []time.Time{d.in.FirstDueAt, d.in.RetriedAt} {
		if at.After(from) {
			from = at
		}
	}
	return !from.IsZero() && d.now.Sub(from) >= d.p.Retry.giveUp()
}
