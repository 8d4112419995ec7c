package dispatcher

import (
	"time"

	"github.com/outboxd/outboxd/internal/timing"
	"github.com/outboxd/outboxd/outbox"
)

// awayBase is how long a lane waits after its second call in a row that nobody answered, doubling up to the breaker's
// open_for. After the first one it does not wait.
const awayBase = time.Second

// away knows whether the provider answers anybody. After one call without an answer the next ones go one by one, as
// probes, until one is answered: so a quiet lane, in which no breaker ever counts enough, spends no attempts on an
// outage either.
//
// It is a pure state: instants come from outside, of the local monotonic clock. Its lane's owner has it.
type away struct {
	since    time.Time // of the first call without an answer after the last answer; zero: none
	failures int       // that one, and the probes since
	next     time.Time // when the next probe may go
	wait     time.Duration
}

func (a *away) on() bool { return a.failures > 0 }

// known reports whether a probe has confirmed it.
func (a *away) known() bool { return a.failures > 1 }

// fail notes a call that nobody answered. Those of the same wave as the first one, which are no probes, tell nothing
// more.
func (a *away) fail(probe bool, now time.Time, most time.Duration) {
	switch {
	case !a.on():
		*a = away{since: now, failures: 1, next: now}
	case probe:
		a.failures++
		a.wait = min(max(awayBase, 2*a.wait), most)
		a.next = now.Add(timing.AtLeast(a.wait))
	}
}

// answer notes that the provider answered, and reports whether it was away.
func (a *away) answer() (was bool) {
	was = a.on()
	*a = away{}
	return was
}

// probed notes that a probe was claimed. What comes of it may be nothing, which must not be repeated at once.
func (a *away) probed(sent time.Time) { a.next = sent.Add(a.wait) }

// unprobed takes that back: what was claimed is none.
func (a *away) unprobed(now time.Time) {
	if a.on() {
		a.next = now
	}
}

// free reports whether a call without an answer costs no attempt: it was a probe, and the lane was away when it was
// begun and still is; or, as another worker saw or this one before a restart, the intent got no answer before and
// nobody has got one here since. The last two instants are the database's.
func (a *away) free(probe bool, unansweredAt, answeredAt time.Time) bool {
	return probe && a.on() || !unansweredAt.IsZero() && !answeredAt.After(unansweredAt)
}

// own reports whether an intent is alone in getting no answer: it got none before, others have got one since, and no
// probe has failed. That tells nothing of the provider. Both instants are the database's.
func (a *away) own(unansweredAt, answeredAt time.Time) bool {
	return !a.known() && !unansweredAt.IsZero() && answeredAt.After(unansweredAt)
}

// answered reports whether a failure is the provider's own answer. A gateway's page is none, nor what our own code or
// the database made of the call.
func answered(f *outbox.Failure) bool {
	switch f.Class {
	case outbox.Permanent, outbox.RateLimited:
		return true
	case outbox.Hold:
		return f.Code != outbox.CodeNotTheProvider
	default:
		return f.Code == outbox.CodeConflict || f.Code == outbox.CodeReplayedError
	}
}
