package outbox

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
)

// MaxHistory is how many attempts history keeps, the last ones, and how many other events besides.
const MaxHistory = 20

// maxMessage bounds last_error.message in bytes: long enough for a list of problems, short enough for a log line.
const maxMessage = 1000

// maxForeign bounds what a provider can make of our documents with its codes and ids, in bytes.
const maxForeign = 200

// ClaimOrder asks a store for intents to attempt.
type ClaimOrder struct {
	Kind  string
	Limit int           // at most so many, at least 1
	Lease time.Duration // from the database's now
	Owner string        // the worker's name
	// Spread is how many workers claim this kind, as far as is known. If it is above 1 and much more waits than
	// Limit, a store may skip a random number of the first intents. So workers do not compete for the same ones.
	Spread int
	// Soon says that another claim of the kind follows within a moment. So this one may miss an intent that became
	// due before everything that the last claims found.
	Soon bool
	// Only names the intents to take, as far as they are of the kind and due; nil: whatever is due. They come in any
	// order.
	Only []ID
	// Doubts is for intents that need no call. It holds, of each kind whose deliveries do not ask first, what its
	// policy does with an ambiguous outcome. Leases that ran out are taken over where that can be decided without
	// asking the provider.
	Doubts map[string]Ambiguity
	// Sample asks for any of what is due instead of the first in order: for a probe, which must not meet the same few
	// intents again and again. It may be the newest as well as the oldest.
	Sample bool
	// Except names what a sample leaves out.
	Except []ID
}

// Settlement asks a store to write what was decided about a claimed intent, if the claim's token still holds.
type Settlement struct {
	Intent   *Intent // as it was claimed
	Decision Decision
	Took     time.Duration // of the attempt
}

// Settled is a store's answer to one [Settlement].
type Settled struct {
	// Lost says that the token no longer held: another worker has claimed the intent since. Nothing was written.
	Lost bool
	// Waiting says that the outcome is recorded in the intent, and why its consequences are not written yet: a lock, an
	// election, a change of schema. Whoever claims it next tries again. Empty: nothing waits.
	Waiting string
	// Again is how long after that the intent is due, if Waiting is set and that is known.
	Again time.Duration
	// Busy says why nothing could be written now, though nothing is wrong: another transaction holds the intent
	// itself. The same settlement must be settled again. Empty: it was written.
	Busy string
	// Notes lists what went wrong beside the outcome, which is written all the same: a write_back without a target, a
	// follow-up that was refused.
	Notes []Note
}

// Note is something that went wrong beside an outcome.
type Note struct {
	Code string // one of [Codes]
	Text string // our own words
}

// Brings reports whether the settlement may have consequences, without working them out.
func (s Settlement) Brings() bool {
	in := s.Intent
	switch s.Decision.Status {
	case StatusDone:
		return len(in.OnDone) > 0 || in.WriteBack != nil
	case StatusDead:
		return len(in.OnDead) > 0 || in.WriteBack != nil
	default:
		return false
	}
}

// Backoff says when a settlement whose consequences could not be written is tried again. While the trouble is young,
// that is soon, so that a lock of seconds is hardly noticed. When it has lasted, tries become rare.
func (s Settlement) Backoff(now time.Time) time.Duration {
	const first, young, longest = 50 * time.Millisecond, 5 * time.Minute, 30 * time.Second
	tries, age := 0, time.Duration(0)
	if o := s.Intent.Outcome; o != nil {
		tries, age = o.Tries, max(0, now.Sub(o.At))
	}
	if age < young {
		return min(first<<min(tries, 10), time.Second)
	}
	return min(max(time.Second, (age-young)/10), longest)
}

// Stored returns the failure as it may stand in a document. Its texts are valid UTF-8 of bounded length. The cause is
// left out, because it may hold what must not be stored.
func (f *Failure) Stored() Failure {
	return Failure{
		Class: f.Class, Code: f.Code, Message: bounded(f.Message, maxMessage), Provider: f.Provider,
		ProviderCode: bounded(f.ProviderCode, maxForeign), HTTPStatus: f.HTTPStatus, RequestID: bounded(f.RequestID, maxForeign),
	}
}

// Number returns which number the settlement's follow-ups have first: that of the death, from 1.
func (s Settlement) Number() int {
	if s.Decision.Status != StatusDead {
		return 1
	}
	return 1 + s.Intent.Retries
}

// Numbered returns the follow-up under the id of the given number: the id as it is for 1, and with the number at its
// end from 2 on.
func (f FollowUp) Numbered(n int) FollowUp {
	if n < 2 {
		return f
	}
	f.ID = NewStringID(f.ID.String() + ":" + itoa(n))
	f.Document = maps.Clone(f.Document)
	f.Document["_id"] = f.ID.String()
	return f
}

// Same reports whether a document says the same as the follow-up: the same kind and payload.
func (f FollowUp) Same(doc map[string]any) bool {
	return f.Document["kind"] == doc["kind"] && reflect.DeepEqual(f.Document["payload"], doc["payload"])
}

// Repeated answers a settlement that the fence refused. It judges by the intent as it is now, which is nil if there
// is none. Either an earlier try wrote the settlement and its answer got lost, or the lease was lost.
func (s Settlement) Repeated(now *Intent) Settled {
	if !s.writtenIn(now) {
		return Settled{Lost: true}
	}
	if o := now.Outcome; o != nil && !now.Status.Final() && s.Decision.Status.Final() {
		return Settled{Waiting: o.Why}
	}
	last, _ := now.Document["last_error"].(map[string]any)
	message, _ := last["message"].(string)
	code, _ := last["code"].(string)
	if message != "" && (code == CodeWriteBackMissed || code == CodeFollowUpRefused) {
		return Settled{Notes: []Note{{code, message}}}
	}
	return Settled{}
}

// writtenIn reports whether the intent as it is now shows that this settlement was written, or its outcome recorded.
//
// An attempt that counted is found by its record in history. An intent that was given back has no record of it. But
// it has one attempt less than any other worker can leave, because the claim after an expired lease counts on from
// it. A try of a recorded outcome leaves a higher number of tries.
func (s Settlement) writtenIn(now *Intent) bool {
	d, was := s.Decision, s.Intent
	if now == nil || now.Lease.Token == was.Lease.Token {
		return false
	}
	if d.Counted {
		return slices.ContainsFunc(now.History, func(r Record) bool {
			return r.isAttempt() && r.Attempt == d.Attempts && r.At.Equal(was.Lease.At) && r.Worker == was.Lease.Owner && r.Outcome == d.Outcome
		})
	}
	if o := now.Outcome; o != nil && d.Status.Final() && !now.Status.Final() {
		if was.Outcome != nil {
			return o.Tries > was.Outcome.Tries
		}
		return o.Event == d.Event && o.Attempts == d.Attempts && !now.Lease.Reclaimed
	}
	if now.Status == StatusLeased {
		return d.Status == StatusPending && !now.Lease.Reclaimed && now.Attempts == d.Attempts+1
	}
	return now.Status == d.Status && now.Attempts == d.Attempts
}

// bounded cuts a text to at most n bytes and makes it valid UTF-8.
func bounded(s string, n int) string {
	if len(s) > n {
		s = s[:n-len("…")] + "…"
	}
	return strings.ToValidUTF8(s, "")
}
