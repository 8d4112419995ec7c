package outbox

import (
	"strings"
	"time"
)

// Bounds of what a provider may ask for with Retry-After: a wrong clock at its side must not park a lane for a day.
const (
	minRetryAfter = time.Second
	maxRetryAfter = time.Hour
	unsentDelay   = time.Second // an intent given back because the database was away is not claimed again at once
	senderDelay   = time.Minute // Twilio's 21611 concerns one sender; its queue drains at about one message a second
)

// lookUpCrashes is how many look-ups in a row may kill their worker before the intent is left to a person. Each raises
// attempts without being settled, so an intent that kills whoever looks after it ends too.
const lookUpCrashes = 10

// Event is what happened to a claimed intent.
type Event int

// The events that a [Verdict] can report.
const (
	Delivered    Event = iota + 1 // the provider has it; Receipt is set
	Failed                        // the attempt ended with Failure
	Found                         // a look-up found the effect; Receipt is set
	Absent                        // a look-up that can tell found nothing, so far
	LookUpFailed                  // a look-up ended with Failure: the provider's final no, or it cannot tell
	Abandoned                     // in doubt, and neither sending nor asking is allowed any more
	Unsent                        // claimed, but given back before anything was sent
	Lapsed                        // expires_at passed before it was sent
	Malformed                     // the document has Problems
	Spent                         // no attempt is left
	Recorded                      // the outcome is known and recorded; only the writing is left
)

// eventNames are the names of events as outcome.event holds them.
var eventNames = map[Event]string{
	Delivered: "delivered", Failed: "failed", Found: "found", Absent: "absent", LookUpFailed: "lookup_failed",
	Abandoned: "abandoned", Unsent: "unsent", Lapsed: "lapsed", Malformed: "malformed", Spent: "spent", Recorded: "recorded",
}

// String returns the event's name as outcome.event holds it.
func (e Event) String() string { return eventNames[e] }

// eventNamed returns the event of a name, 0 if there is none.
func eventNamed(name string) Event {
	for e, n := range eventNames {
		if n == name {
			return e
		}
	}
	return 0
}

// Verdict is what a worker learned about a claimed intent.
type Verdict struct {
	Event   Event
	Receipt Receipt  // of Delivered and Found
	Failure *Failure // of Failed and LookUpFailed; of Unsent, why, if something was in the way
	Certain bool     // of Absent: the effect can never come, so that nothing has to be waited for
	Also    []Record // of Found and Absent: what the look-up did at the provider

	// Wait is, of Unsent, for how long the provider must not be asked what became of it. It ends with
	// reconcile.give_up.
	Wait time.Duration
	// Probe says, of Failed without an answer, that the provider answers nobody as far as the lane knows: it costs no
	// attempt.
	Probe bool
	// Alone says, of Failed with class hold, that others have passed since the provider refused this intent before: the
	// refusal is its own, and counts.
	Alone bool
}

// Action is what a worker may do with an intent that it has claimed.
type Action int

// The actions that [Next] can ask for.
const (
	Send   Action = iota + 1 // attempt the effect
	LookUp                   // ask the provider whether an earlier attempt had its effect
	Settle                   // neither: settle by the verdict given
)

// Mark says what happens to ambiguous_at.
type Mark int

// The values of [Mark].
const (
	KeepMark  Mark = iota // as it is
	SetMark               // now, unless it is set already
	ClearMark             // the outcome is known again
)

// Decision is the state that settling writes.
type Decision struct {
	Status Status        // StatusPending, StatusDone or StatusDead
	Reason DeadReason    // of a dead letter
	Delay  time.Duration // of a pending intent: from now to its due_at; never negative

	Attempts  int      // the new value of attempts
	Counted   bool     // the claim counts as an attempt; otherwise it was given back
	Noted     bool     // given back, but history tells of the call all the same: it may have had its effect
	Abandoned []int    // earlier attempts whose leases ran out unrecorded; they go into history
	Ambiguous Mark     // what happens to ambiguous_at
	Outcome   Class    // for history, logs and metrics; empty if nothing was attempted (a look-up without a result, a release)
	Failure   *Failure // becomes last_error; nil leaves that as it is
	Receipt   *Receipt // becomes result
	Event     Event    // what it was decided by; becomes outcome.event where the writing has to wait
	Seen      *Failure // what the call met, for history: also where it does not become last_error
	Also      []Record // what was done at the provider besides; goes into history

	// Trace is the context of the attempt's span, which follow-ups continue; zero: they continue the intent's own. It
	// is no part of what Decide decides.
	Trace Trace

	Gate    bool          // the lane waits (rate limited)
	GateFor time.Duration // for how long; 0: for the lane's own backoff, since the provider did not say
	Hold    bool          // the provider refuses our credentials or account: a sign that the lane has to hold
}

// Next says what a worker may do now with an intent that it has just claimed. The verdict goes to [Decide] where the
// action is [Settle]. now is the database's time as well as the worker knows it.
//
// An intent may be sent only if all of this is true: it is not expired, it has an attempt left, and no earlier
// attempt can still have an effect that a repetition would double.
func Next(in *Intent, p Policy, now time.Time) (Action, Verdict) {
	if in.Outcome.valid() { // whatever else is wrong: it is over, and only has to be written
		return Settle, Verdict{Event: Recorded}
	}
	if len(in.Problems) > 0 {
		return Settle, Verdict{Event: Malformed}
	}
	spent, expired := in.Attempts > p.maxAttempts(in), in.Expired(now)
	unknown := in.unknown()
	switch {
	case unknown && in.Attempts > max(p.maxAttempts(in), in.recorded())+lookUpCrashes:
		return Settle, Verdict{Event: Abandoned}
	case p.AsksFirst && in.begun(): // before it is given up, what it left at the provider is settled or cancelled
		if spent || expired {
			return LookUp, Verdict{}
		}
	case unknown && p.ambiguity(in) == Retry:
		if spent || expired {
			return Settle, Verdict{Event: Abandoned}
		}
	case unknown && p.ambiguity(in) == Reconcile && !in.AmbiguousAt.IsZero():
		return LookUp, Verdict{}
	case unknown:
		return Settle, Verdict{Event: Abandoned}
	case expired:
		return Settle, Verdict{Event: Lapsed}
	case spent:
		return Settle, Verdict{Event: Spent}
	}
	return Send, Verdict{}
}

// Decide says what follows: a pure function of the intent as it was claimed, the verdict, the kind's policy and the
// database's time. It holds all rules of retry and dead letter.
func Decide(in *Intent, v Verdict, p Policy, now time.Time) Decision {
	d := decision{in: in, p: p, now: now, max: p.maxAttempts(in)}
	d.Event, d.Seen, d.Also = v.Event, v.Failure, v.Also
	if in.Outcome.valid() {
		if v.Event == Recorded {
			return d.recorded()
		}
		return d.unwritten(v)
	}
	d.Abandoned = d.unrecorded()
	switch v.Event {
	case Delivered:
		return d.counted(Done).done(v.Receipt)
	case Found:
		return d.givenBack(Done).done(v.Receipt)
	case Failed:
		return d.failed(known(v.Failure), v)
	case Absent:
		return d.absent(v.Certain)
	case LookUpFailed:
		return d.lookUpFailed(known(v.Failure))
	case Abandoned:
		return d.abandoned()
	case Lapsed:
		return d.givenBack(Expired).fails(expiredFailure()).ends(ReasonExpired)
	case Malformed:
		return d.givenBack(Invalid).fails(invalidFailure(in.Problems)).ends(ReasonInvalid)
	case Spent:
		return d.givenBack("").exhausted()
	default: // Unsent; also what a defect hands in: giving back is the one answer that does nothing
		if v.Failure != nil {
			return d.givenBack("").again(unsentDelay)
		}
		if v.Wait > 0 {
			return d.unasked(v.Wait)
		}
		return d.givenBack("").again(0)
	}
}

// decision is a Decision in the making.
type decision struct {
	Decision
	in  *Intent
	p   Policy
	now time.Time
	max int
}

func (d decision) failed(f *Failure, v Verdict) Decision {
	switch f.Class {
	case RateLimited:
		d = d.givenBack(RateLimited).fails(f)
		if f.LaneOpen {
			return d.unmet(max(senderDelay, clamp(f.RetryAfter)))
		}
		d.Gate, d.GateFor = true, clamp(f.RetryAfter)
		return d.unmet(max(minRetryAfter, d.GateFor))
	case Hold:
		return d.refused(f, v.Alone)
	case Permanent:
		switch {
		case f.Code == CodeKeyReused: // an earlier request stands under this key, with an outcome that this one does not tell
			d.Ambiguous = SetMark
		case d.p.AsksFirst: // it asked about the earlier attempts before it said so
			d.Ambiguous = ClearMark
		}
		return d.counted(Permanent).fails(f).ends(ReasonPermanent)
	case Transient:
		if f.Code == CodeNotSent || v.Probe {
			return d.unanswered(f)
		}
		d = d.counted(Transient).fails(f)
		if d.Attempts < d.max {
			return d.again(max(d.backoff(), clamp(f.RetryAfter)))
		}
		return d.unless(ReasonExhausted)
	case Invalid: // the provider's code could not even build the request
		return d.givenBack(Invalid).fails(f).unless(ReasonInvalid)
	case Expired: // between two steps of one effect, before the step that counts
		return d.givenBack(Expired).fails(f).unless(ReasonExpired)
	default:
		if v.Probe && (d.p.AsksFirst || d.p.ambiguity(d.in) != Park) { // what is parked ends now
			return d.unanswered(f)
		}
		return d.counted(Ambiguous).fails(f).ambiguous(f)
	}
}

// ambiguous: this very attempt may have had its effect.
func (d decision) ambiguous(f *Failure) Decision {
	d.Ambiguous = SetMark
	policy := d.p.ambiguity(d.in)
	switch {
	case d.p.AsksFirst && d.Attempts >= d.max, policy == Reconcile:
		return d.again(d.p.Reconcile.Wait)
	case d.p.AsksFirst, policy == Retry && d.Attempts < d.max:
		return d.again(max(d.backoff(), clamp(f.RetryAfter)))
	default:
		return d.ends(ReasonAmbiguous)
	}
}

// abandoned: an earlier attempt may have had its effect, and nothing was done under this claim.
func (d decision) abandoned() Decision {
	d = d.givenBack(Ambiguous)
	if d.in.Lease.Reclaimed || d.in.lastCode() == "" {
		d = d.fails(leaseFailure())
	}
	d.Ambiguous = SetMark
	if d.p.ambiguity(d.in) == Reconcile && d.in.AmbiguousAt.IsZero() {
		return d.again(d.p.Reconcile.Wait)
	}
	return d.ends(ReasonAmbiguous)
}

// absent: the provider was asked and shows nothing. Its records may lag, so that counts only after a while, unless the
// effect can never come.
func (d decision) absent(certain bool) Decision {
	d = d.givenBack("")
	if left := d.p.Reconcile.AbsentAfter - d.since(); left > 0 && !certain {
		d.Ambiguous = SetMark
		return d.again(min(d.p.Reconcile.Interval, left))
	}
	d.Ambiguous = ClearMark
	switch {
	case d.in.Expired(d.now):
		d.Outcome = Expired
		return d.fails(expiredFailure()).ends(ReasonExpired)
	case d.Attempts >= d.max:
		return d.exhausted()
	default:
		return d.again(0)
	}
}

// exhausted ends the intent for want of attempts. The last error stays where it tells more than that none is left.
func (d decision) exhausted() Decision {
	if d.in.lastClass() != Transient {
		d = d.fails(spentFailure())
	}
	return d.ends(ReasonExhausted)
}

// lookUpFailed: the provider was asked and gave its final no, or nothing that tells. Whatever the reason, a limit and
// our own credentials included, it ends with reconcile.give_up, and concerns no other intent.
func (d decision) lookUpFailed(f *Failure) Decision {
	d = d.givenBack("")
	if f.Class == Permanent {
		d.Outcome, d.Ambiguous = Permanent, ClearMark
		return d.fails(f).ends(ReasonPermanent)
	}
	d.Ambiguous = SetMark
	if d.since() >= d.p.Reconcile.GiveUp {
		d.Outcome = Ambiguous
		return d.fails(f).ends(ReasonAmbiguous)
	}
	left := d.p.Reconcile.GiveUp - d.since() // no limit of the provider's makes it wait past its end
	return d.again(min(max(d.p.Reconcile.Interval, clamp(f.RetryAfter)), left))
}

// unasked: the provider was to be asked, and may not be for a while. That keeps no intent past reconcile.give_up.
func (d decision) unasked(wait time.Duration) Decision {
	d = d.givenBack("")
	d.Ambiguous = SetMark
	left := d.p.Reconcile.GiveUp - d.since()
	if left > 0 {
		return d.again(min(wait, left))
	}
	d.Event, d.Outcome = Abandoned, Ambiguous
	if d.in.lastCode() == "" {
		d = d.fails(leaseFailure())
	}
	return d.ends(ReasonAmbiguous)
}

// since returns how long the outcome has been ambiguous. It counts from the last attempt: the mark is as old as the
// first doubt, and what a later attempt did may not show at the provider yet.
func (d decision) since() time.Duration {
	at := d.in.AmbiguousAt
	if at.IsZero() || d.justLost() { // it counts from now
		return 0
	}
	for _, r := range d.in.History {
		if ended := r.ended(); r.isCall() && ended.After(at) {
			at = ended
		}
	}
	return max(0, d.now.Sub(at))
}

// justLost reports whether the lease before this one may have been an attempt's. Without a delivery that asks first, it
// was a look-up's if the intent was marked already; with one, it was a look-up's if no attempt was left.
func (d decision) justLost() bool {
	return d.in.Lease.Reclaimed && (d.in.AmbiguousAt.IsZero() || d.p.AsksFirst && d.in.Attempts-1 <= d.max)
}

// unless ends the intent for a reason that says that this attempt had no effect, unless an earlier one may have had
// it. A delivery that asks first may have left something unfinished at the provider: a look-up settles that before
// the end.
func (d decision) unless(reason DeadReason) Decision {
	switch {
	case d.p.AsksFirst && reason != ReasonInvalid && reason != ReasonPermanent, d.in.unknown() && (d.p.AsksFirst || d.p.ambiguity(d.in) == Reconcile):
		return d.again(d.p.Reconcile.Wait)
	case !d.in.unknown():
		return d.ends(reason)
	default:
		return d.ends(ReasonAmbiguous)
	}
}

// recorded repeats what an earlier decision recorded. The claims since then were no attempts.
func (d decision) recorded() Decision {
	o := d.in.Outcome
	d.Attempts, d.Outcome, d.Event = o.Attempts, o.Class, o.Event
	if o.Receipt != nil {
		return d.done(*o.Receipt)
	}
	d.Status, d.Reason, d.Failure = StatusDead, o.Reason, o.Failure
	return d.Decision
}

// unwritten gives back an intent whose recorded outcome could not be written under this claim. Neither this claim nor
// one whose lease ran out since then was an attempt. So nothing is added to what was recorded, and nothing is in doubt.
func (d decision) unwritten(v Verdict) Decision {
	d.Attempts, d.Status = d.in.Outcome.Attempts, StatusPending
	if v.Failure != nil {
		d.Delay = unsentDelay
	}
	return d.Decision
}

// counted writes the attempt into history.
func (d decision) counted(outcome Class) decision {
	d.Counted, d.Outcome = true, outcome
	d.Attempts = d.within(d.in.Attempts)
	return d
}

// givenBack takes the claim's attempt back.
func (d decision) givenBack(outcome Class) decision {
	d.Counted, d.Outcome = false, outcome
	d.Attempts = d.within(d.in.Attempts - 1)
	return d
}

// within keeps attempts at the maximum or below, unless more were recorded under a policy that allowed more. The
// database counts claims whose leases expire one after another, and does not know the maximum.
func (d decision) within(attempts int) int {
	return max(0, min(attempts, max(d.max, d.in.recorded())))
}

// unrecorded returns the attempts before this claim that history lacks: their leases ran out. There may be no more of
// them than attempts can be.
func (d decision) unrecorded() []int {
	if !d.in.Lease.Reclaimed {
		return nil
	}
	var missing []int
	for n := max(d.in.recorded(), d.in.Attempts-1-100) + 1; n < d.in.Attempts; n++ {
		if n <= d.within(n) {
			missing = append(missing, n)
		}
	}
	return missing
}

func (d decision) fails(f *Failure) decision { d.Failure = f; return d }

func (d decision) backoff() time.Duration {
	return d.p.Retry.Backoff(d.Attempts, d.in.LegacyKey())
}

func (d decision) done(r Receipt) Decision {
	d.Status, d.Receipt, d.Ambiguous = StatusDone, &r, ClearMark
	return d.Decision
}

func (d decision) ends(reason DeadReason) Decision {
	d.Status, d.Reason = StatusDead, reason
	return d.marked().Decision
}

func (d decision) again(delay time.Duration) Decision {
	onlyLookUps := d.p.AsksFirst && (d.Attempts >= d.max || d.in.Expired(d.now.Add(delay)))
	if d.justLost() && onlyLookUps && !d.in.AmbiguousAt.IsZero() {
		delay = max(delay, d.p.Reconcile.AbsentAfter) // the mark and history are too old to tell when the lost attempt was
	}
	if left := d.in.ExpiresAt.Sub(d.now); d.p.AsksFirst && !d.in.ExpiresAt.IsZero() && left > 0 {
		delay = min(delay, left) // its end needs a look-up, for which it has to come to its lane
	}
	d.Status, d.Delay = StatusPending, max(0, delay)
	return d.marked().Decision
}

// marked keeps the doubt: the attempt whose lease ran out before this claim stays unknown until a rule cleared it.
func (d decision) marked() decision {
	if d.in.Lease.Reclaimed && d.Ambiguous == KeepMark {
		d.Ambiguous = SetMark
		if d.Failure == nil { // a dead letter of it must say why nobody knows
			d.Failure = leaseFailure()
		}
	}
	return d
}

// clamp bounds what a provider asked for; 0 stays 0, for nothing asked.
func clamp(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return min(max(d, minRetryAfter), maxRetryAfter)
}

// known replaces a failure that no rule knows, for what follows it is not known either.
func known(f *Failure) *Failure {
	if f == nil {
		return &Failure{Class: Ambiguous, Code: CodeUnclassified, Message: "the attempt ended without a verdict"}
	}
	switch f.Class {
	case Transient, RateLimited, Permanent, Ambiguous, Hold, Invalid, Expired:
		return f
	case Done, outcomeAbsent: // these are no failures
	}
	unknown := *f
	unknown.Class = Ambiguous
	return &unknown
}

func leaseFailure() *Failure {
	return &Failure{Class: Ambiguous, Code: CodeLeaseExpired, Message: "the lease ran out while a worker held the intent; it may have called the provider"}
}

func expiredFailure() *Failure {
	return &Failure{Class: Expired, Code: CodeExpired, Message: "expires_at passed before it was sent"}
}

func spentFailure() *Failure {
	return &Failure{Class: Transient, Code: CodeAttemptsUsed, Message: "no attempt is left"}
}

func invalidFailure(problems []Problem) *Failure {
	texts := make([]string, len(problems))
	for i, p := range problems {
		texts[i] = p.String()
	}
	return &Failure{Class: Invalid, Code: CodeInvalid, Message: strings.Join(texts, "; ")}
}
