package outbox

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// life is one intent in a database and at a provider, whose truth the worker cannot see.
type life struct {
	*rapid.T
	policy   Policy
	in       Intent
	now      time.Time
	crashed  bool        // the lease ran out while a worker held it
	effects  []time.Time // when the provider acted, or will have acted
	doubt    bool        // an earlier attempt may have had its effect, and nobody has asked since
	crashes  int
	holdOffs int
}

const (
	testLease = time.Minute
	// inFlight is how long a call that its worker gave up may still take at the provider, and how far the provider's
	// records may lag behind. It is less than what absent_after waits for.
	inFlight = 90 * time.Second
)

// TestLives lets intents live through random sequences of claims, crashes and verdicts, and proves for each that it
// ends, that it ends as it should, and that nothing is repeated that may not be.
func TestLives(t *testing.T) {
	for _, onAmbiguous := range []Ambiguity{Retry, Reconcile, Park} {
		for _, asksFirst := range []bool{false, true} {
			for attempts := 1; attempts <= 5; attempts++ {
				p := testPolicy(onAmbiguous, asksFirst)
				p.Retry.MaxAttempts = attempts
				t.Run(fmt.Sprintf("%s, asks first %v, %d attempts", onAmbiguous, asksFirst, attempts), rapid.MakeCheck(func(t *rapid.T) { live(t, p) }))
			}
		}
	}
}

func live(t *rapid.T, p Policy) {
	const bound = 200 // claims
	l := newLife(t, p)
	for claims := 0; !l.in.Status.Final(); claims++ {
		if claims == bound {
			t.Fatalf("still %s after %d claims: %+v", l.in.Status, bound, l.in)
		}
		l.claim()
	}
	l.judge()
}

func newLife(t *rapid.T, p Policy) *life {
	l := &life{T: t, policy: p, now: testNow}
	l.in = Intent{ID: NewStringID("order-1"), Kind: KindSMS, Status: StatusPending, Document: map[string]any{}}
	if rapid.Bool().Draw(t, "expires") {
		l.in.ExpiresAt = l.now.Add(time.Duration(rapid.IntRange(0, 600).Draw(t, "after")) * time.Second)
	}
	return l
}

// claim is one round of the worker's loop. Crashes, and refusals that cost nothing, are bounded: no rule can end an
// intent whose workers always die before they settle, or which the provider never lets in.
func (l *life) claim() {
	l.in.Status = StatusLeased
	l.in.Attempts++
	l.in.Lease = Lease{Token: "t", Owner: "w", At: l.now, Reclaimed: l.crashed}
	l.crashed = false

	action, verdict := Next(&l.in, l.policy, l.now)
	took := time.Duration(rapid.IntRange(0, 20).Draw(l.T, "took")) * time.Second
	switch action {
	case Send:
		if l.in.Expired(l.now) {
			l.Fatalf("sent though expired")
		}
		if l.in.Attempts > l.policy.Retry.MaxAttempts {
			l.Fatalf("sent as attempt %d of %d", l.in.Attempts, l.policy.Retry.MaxAttempts)
		}
		if l.doubt && !l.policy.AsksFirst && l.policy.OnAmbiguous != Retry {
			l.Fatalf("sent under %s though an earlier attempt is unknown", l.policy.OnAmbiguous)
		}
		verdict = l.send(took)
	case LookUp:
		verdict = l.lookUp()
	}
	l.now = l.now.Add(took)
	if l.crashes < 20 && rapid.IntRange(0, 5).Draw(l.T, "crash") == 0 {
		l.crashes++
		l.crashed = true
		l.doubt = true
		l.now = l.in.Lease.At.Add(testLease)
		return
	}
	l.settle(verdict, took)
}

func (l *life) settle(v Verdict, took time.Duration) {
	d := Decide(&l.in, v, l.policy, l.now)
	if err := sound(&l.in, v, l.policy, l.now, d); err != nil {
		l.Fatalf("%s: %v: %s", events[v.Event], err, told(&l.in, l.policy, d))
	}
	l.Logf("%v %s: %s", l.now.Sub(testNow), events[v.Event], told(&l.in, l.policy, d))
	l.in.History = append(l.in.History, Settlement{Intent: &l.in, Decision: d, Took: took}.Records()...)
	l.in.Status, l.in.Attempts, l.in.DueAt = d.Status, d.Attempts, l.now.Add(d.Delay)
	switch {
	case d.Ambiguous == ClearMark:
		l.in.AmbiguousAt = time.Time{}
		l.doubt = false
	case d.Ambiguous == SetMark && l.in.AmbiguousAt.IsZero():
		l.in.AmbiguousAt = l.now
	}
	if d.Failure != nil {
		l.in.Document["last_error"] = map[string]any{"code": d.Failure.Code}
	}
	if d.Status == StatusDead {
		l.in.Document["dead_reason"] = string(d.Reason)
	}
	if d.Status == StatusPending {
		late := rapid.SampledFrom([]time.Duration{0, time.Second, time.Hour}).Draw(l.T, "late")
		l.now = l.in.DueAt.Add(late)
	}
}

// shows reports whether the provider has it, as far as it can be seen now.
func (l *life) shows() bool { return len(l.effects) > 0 && !l.now.Before(l.effects[0]) }

func (l *life) send(took time.Duration) Verdict {
	failed := func(class Class) Verdict {
		return Verdict{Event: Failed, Failure: &Failure{Class: class, Code: string(class)}}
	}
	if l.policy.AsksFirst && len(l.effects) > 0 { // the provider serialises under the key
		if l.shows() {
			return Verdict{Event: Delivered, Receipt: Receipt{ID: "1"}}
		}
		return failed(Transient)
	}
	classes := []Class{Done, Done, Transient, Transient, Permanent, Ambiguous, Ambiguous}
	if l.holdOffs < 10 {
		classes = append(classes, RateLimited, Hold, "unsent", "not sent", "probe")
	}
	switch class := rapid.SampledFrom(classes).Draw(l.T, "outcome"); class {
	case Done:
		l.effects = append(l.effects, l.now)
		return Verdict{Event: Delivered, Receipt: Receipt{ID: "1"}}
	case "unsent":
		l.holdOffs++
		return Verdict{Event: Unsent}
	case RateLimited, Hold:
		l.holdOffs++
		v := failed(class)
		v.Alone = class == Hold && rapid.Bool().Draw(l.T, "alone")
		return v
	case "not sent":
		l.holdOffs++
		return Verdict{Event: Failed, Failure: &Failure{Class: Transient, Code: CodeNotSent}}
	case "probe":
		l.holdOffs++
		if rapid.Bool().Draw(l.T, "acted") {
			l.effects = append(l.effects, l.now.Add(took+time.Duration(rapid.IntRange(0, int(inFlight/time.Second)).Draw(l.T, "later"))*time.Second))
		}
		l.doubt = true
		v := failed(Ambiguous)
		v.Probe = true
		return v
	case Ambiguous:
		if rapid.Bool().Draw(l.T, "acted") {
			l.effects = append(l.effects, l.now.Add(took+time.Duration(rapid.IntRange(0, int(inFlight/time.Second)).Draw(l.T, "later"))*time.Second))
		}
		l.doubt = true
		return failed(Ambiguous)
	default:
		return failed(class)
	}
}

func (l *life) lookUp() Verdict {
	classes := []Class{Done, Done, Done, Transient, Ambiguous}
	if l.holdOffs < 10 {
		classes = append(classes, RateLimited, Hold)
	}
	switch class := rapid.SampledFrom(classes).Draw(l.T, "answer"); class {
	case Done:
		if l.shows() {
			return Verdict{Event: Found, Receipt: Receipt{ID: "1"}}
		}
		return Verdict{Event: Absent}
	case RateLimited, Hold:
		l.holdOffs++
		fallthrough
	default:
		return Verdict{Event: LookUpFailed, Failure: &Failure{Class: class, Code: string(class)}}
	}
}

// judge compares the end with the provider's truth.
func (l *life) judge() {
	reason := DeadReason(fmt.Sprint(l.in.Document["dead_reason"]))
	story := fmt.Sprintf("%s/%s, attempts %d, %d effects, ambiguous_at %v", l.in.Status, reason, l.in.Attempts, len(l.effects), l.in.AmbiguousAt)
	mayRepeat := l.policy.OnAmbiguous == Retry && !l.policy.AsksFirst
	switch {
	case len(l.effects) > 1 && !mayRepeat:
		l.Fatalf("the effect happened twice: %s", story)
	case l.in.Status == StatusDone && len(l.effects) == 0:
		l.Fatalf("done without an effect: %s", story)
	case l.in.Status == StatusDead && l.in.AmbiguousAt.IsZero() && len(l.effects) > 0:
		l.Fatalf("a dead letter that says it surely had no effect had one: %s", story)
	case reason == ReasonAmbiguous && l.in.AmbiguousAt.IsZero():
		l.Fatalf("an ambiguous dead letter without ambiguous_at: %s", story)
	case l.in.Attempts > l.policy.Retry.MaxAttempts:
		l.Fatalf("more attempts than allowed: %s", story)
	}
}
