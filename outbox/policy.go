package outbox

import (
	"cmp"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"time"
)

// RetryPolicy says how often and how soon an attempt is repeated.
type RetryPolicy struct {
	MaxAttempts int           // 1 to 100
	Base        time.Duration // the backoff's bound after the first attempt; doubles with each attempt
	Max         time.Duration // the bound's cap
	// GiveUp bounds the time in which an intent could not be attempted at all, since the provider could not be
	// reached or let nobody in. Such calls use up no attempt. 0: [DefaultGiveUp].
	GiveUp time.Duration
}

func (p RetryPolicy) giveUp() time.Duration { return cmp.Or(max(0, p.GiveUp), DefaultGiveUp) }

// Bound returns the longest backoff after the given attempt (from 1): Base doubled for each earlier attempt, at most
// Max.
func (p RetryPolicy) Bound(attempt int) time.Duration {
	bound, most := max(0, p.Base), max(0, p.Max)
	for range max(1, attempt) - 1 {
		if bound == 0 {
			return 0
		}
		if bound > most/2 { // doubling would pass the cap, and overflow in the end
			return most
		}
		bound *= 2
	}
	return min(bound, most)
}

// Backoff returns the wait after the given attempt: full jitter, anywhere from 0 to Bound. It is drawn from the seed,
// so that the decision stays a function of its arguments, while two intents never wait in step.
func (p RetryPolicy) Backoff(attempt int, seed string) time.Duration {
	h := fnv.New64a()
	_, _ = h.Write([]byte(seed + "#" + itoa(attempt)))
	// FNV's high bits change little for inputs that differ only at their end: mix once more (the finalizer of
	// MurmurHash3 by Austin Appleby, public domain).
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	x ^= x >> 33
	fraction := float64(x>>11) / (1 << 53)
	return time.Duration(fraction * float64(p.Bound(attempt)))
}

// ReconcilePolicy says how the provider is asked about an ambiguous outcome. All times count from the end of the last
// attempt with an ambiguous outcome, which is ambiguous_at where nothing was sent after it.
type ReconcilePolicy struct {
	Wait        time.Duration // before the first look-up
	Interval    time.Duration // between look-ups
	AbsentAfter time.Duration // a provider that shows nothing by then surely did not act
	GiveUp      time.Duration // look-ups that cannot tell until then leave it to a person; at least AbsentAfter
}

// Policy holds the rules of one kind.
type Policy struct {
	Retry       RetryPolicy
	OnAmbiguous Ambiguity
	Reconcile   ReconcilePolicy
	// AsksFirst says that a delivery first asks the provider for the outcome of an earlier attempt, as a charge does
	// by its stored PaymentIntent. So repeating it is always safe.
	AsksFirst bool
}

// Validate returns every problem of the policy, joined, or nil.
func (p Policy) Validate() error {
	var errs []error
	bad := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	bad(p.Retry.MaxAttempts >= 1 && p.Retry.MaxAttempts <= 100, "retry.max_attempts is %d, must be 1 to 100", p.Retry.MaxAttempts)
	bad(p.Retry.Base > 0, "retry.base is %v, must be above 0", p.Retry.Base)
	bad(p.Retry.Max >= p.Retry.Base, "retry.max is %v, must be at least retry.base (%v)", p.Retry.Max, p.Retry.Base)
	bad(p.Retry.GiveUp >= 0, "retry.give_up is %v, must be above 0", p.Retry.GiveUp)
	bad(p.OnAmbiguous == Retry || p.OnAmbiguous == Reconcile || p.OnAmbiguous == Park,
		"on_ambiguous is %q, must be retry, reconcile or park", p.OnAmbiguous)
	r := p.Reconcile
	bad(r.Wait >= 0, "reconcile.wait is %v, must not be negative", r.Wait)
	bad(r.Interval >= time.Second, "reconcile.interval is %v, must be at least 1s", r.Interval)
	bad(r.AbsentAfter >= r.Wait, "reconcile.absent_after is %v, must be at least reconcile.wait (%v)", r.AbsentAfter, r.Wait)
	bad(r.GiveUp >= r.AbsentAfter, "reconcile.give_up is %v, must be at least reconcile.absent_after (%v)", r.GiveUp, r.AbsentAfter)
	return errors.Join(errs...)
}

// maxAttempts returns how many attempts the intent has in all.
func (p Policy) maxAttempts(in *Intent) int {
	if in.MaxAttempts > 0 {
		return in.MaxAttempts
	}
	return p.Retry.MaxAttempts
}

// ambiguity returns what the intent or else its kind wants done about an ambiguous outcome.
func (p Policy) ambiguity(in *Intent) Ambiguity {
	if in.OnAmbiguous != "" {
		return in.OnAmbiguous
	}
	return p.OnAmbiguous
}

func itoa(n int) string { return strconv.Itoa(n) }
