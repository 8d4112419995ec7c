package outbox

import "time"

// RateMinute is what all workers did for one kind within one minute. Workers add to it every few seconds; a worker that
// is killed takes the last of them with it.
type RateMinute struct {
	Minute time.Time // its begin, by the database's clock
	Kind   string
	RateCounters
}

// RateCounters are the counters of a [RateMinute]. Each counts from 0.
type RateCounters struct {
	Claimed   int64 // intents that were leased
	Done      int64 // settled as done
	Dead      int64 // settled as dead letters, of any reason
	Ambiguous int64 // of those, the ones that need a person's verdict
	Retried   int64 // attempts that failed and are repeated
	Released  int64 // given back without a call
	LookUps   int64 // questions to the provider about an earlier attempt
	Business  int64 // attempts and documents that got a final no: the business's matter
	Transport int64 // attempts that failed on the way: the operator's matter
	Limited   int64 // attempts that the provider's rate limit refused
	LeaseLost int64 // outcomes that could not be written, for the lease was lost
	// Took counts the attempts by how long they took: up to each of [RateBounds], and in the last place above all.
	Took [12]int64
}

// RateBounds are the upper bounds of the first eleven places of [RateCounters.Took].
func RateBounds() [11]time.Duration {
	const ms = time.Millisecond
	return [...]time.Duration{
		5 * ms, 10 * ms, 25 * ms, 50 * ms, 100 * ms, 250 * ms, 500 * ms,
		time.Second, 2500 * ms, 5 * time.Second, 10 * time.Second,
	}
}

// Observe counts one attempt by how long it took.
func (r *RateCounters) Observe(took time.Duration) {
	for i, bound := range RateBounds() {
		if took <= bound {
			r.Took[i]++
			return
		}
	}
	r.Took[len(r.Took)-1]++
}

// Add adds other to the counters.
func (r *RateCounters) Add(other RateCounters) {
	r.Claimed += other.Claimed
	r.Done += other.Done
	r.Dead += other.Dead
	r.Ambiguous += other.Ambiguous
	r.Retried += other.Retried
	r.Released += other.Released
	r.LookUps += other.LookUps
	r.Business += other.Business
	r.Transport += other.Transport
	r.Limited += other.Limited
	r.LeaseLost += other.LeaseLost
	for i, n := range other.Took {
		r.Took[i] += n
	}
}

// Attempts returns how many attempts were timed.
func (r RateCounters) Attempts() int64 {
	var n int64
	for _, took := range r.Took {
		n += took
	}
	return n
}

// Quantile returns how long the given part of the attempts took at most, such as 0.95. Within a place it is
// interpolated. Attempts above the last bound count as that bound. It is 0 without attempts.
func (r RateCounters) Quantile(q float64) time.Duration {
	all := r.Attempts()
	if all == 0 {
		return 0
	}
	rank := min(max(q, 0), 1) * float64(all)
	bounds, below, lower := RateBounds(), 0.0, time.Duration(0)
	for i, bound := range bounds {
		n := float64(r.Took[i])
		if n > 0 && below+n >= rank {
			return lower + time.Duration((rank-below)/n*float64(bound-lower))
		}
		below, lower = below+n, bound
	}
	return bounds[len(bounds)-1]
}

// Count counts one settlement.
func (r *RateCounters) Count(s Settlement) {
	d := s.Decision
	switch d.Status {
	case StatusDone:
		r.Done++
	case StatusDead:
		r.Dead++
		if d.Reason == ReasonAmbiguous {
			r.Ambiguous++
		}
	default:
		if d.Counted {
			r.Retried++
		}
	}
	switch d.Event {
	case Delivered, Failed:
		r.Observe(s.Took)
	case Found, Absent, LookUpFailed:
		r.LookUps++
	case Unsent:
		r.Released++
	default: // nothing was asked of a provider
	}
	switch {
	case d.Outcome == RateLimited:
		r.Limited++
	case d.Outcome == Done, d.Outcome == "":
	case d.Outcome.Business():
		r.Business++
	default:
		r.Transport++
	}
}
