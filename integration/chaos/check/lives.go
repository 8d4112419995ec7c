package check

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/outboxd/outboxd/outbox"
)

// life is what the change stream showed of one intent.
type life struct {
	leases []lease
	born   *Change
	ended  *Change
}

// lease is a claim.
type lease struct {
	owner, token string
	at, due      time.Time
	writing      bool // of a recorded outcome: nothing may be sent under it
}

func (l lease) String() string {
	return fmt.Sprintf("%s…%s by %s", stamp(l.at), stamp(l.due), l.owner)
}

func stamp(t time.Time) string { return t.UTC().Format("15:04:05.000") }

func (j *judge) life(id string) *life {
	l := j.lives[id]
	if l == nil {
		l = new(life)
		j.lives[id] = l
	}
	return l
}

// live follows every intent through its changes.
func (j *judge) live() {
	for i := range j.Changes {
		c := &j.Changes[i]
		switch {
		case c.After == nil:
			j.wrong(RuleChangedEnd, c.Before.ID, "it was deleted")
		case c.Before == nil:
			j.life(c.After.ID).born = c
			if c.After.Lease != nil {
				j.wrong(RuleUnowned, c.After.ID, "it was inserted with a lease")
			}
		default:
			j.change(j.life(c.After.ID), c)
		}
	}
}

func (j *judge) change(l *life, c *Change) {
	b, a := c.Before, c.After
	held := func(d *Doc) bool { return d.Status == string(outbox.StatusLeased) && d.Lease != nil }
	if a.Final() && !b.Final() {
		l.ended = c
		if b.Outcome != nil && !b.Outcome.leadsTo(a) {
			j.wrong(RuleRecorded, a.ID, "its outcome was recorded as %+v, and it ended as %s with the receipt %+v", *b.Outcome, a.end(), a.Result)
		}
	}
	if a.Outcome != nil && b.Outcome == nil {
		j.totals.Recorded++
	}
	if b.Outcome != nil && a.Outcome == nil && !a.Final() {
		j.wrong(RuleRecorded, a.ID, "its outcome was recorded, and is gone while it is %s", a.Status)
	}
	switch {
	case b.Final():
		j.wrong(RuleChangedEnd, a.ID, "it was %s and was changed to %s", b.end(), a.end())
	case held(a) && (!held(b) || b.Lease.Token != a.Lease.Token):
		j.claim(l, b, a)
	case held(a): // progress
		if a.Attempts != b.Attempts || a.Lease.Owner != b.Lease.Owner || !a.DueAt.Equal(b.DueAt) {
			j.wrong(RuleUnowned, a.ID, "its lease was changed under the same token")
		}
	case held(b) && a.Status == string(outbox.StatusPending) && a.Lease != nil:
		j.byHand(Unlock, RuleUnowned, a)
	case a.Status == string(outbox.StatusCancelled):
		if b.Lease != nil || !b.AmbiguousAt.IsZero() || b.Outcome != nil {
			j.wrong(RuleCancelled, a.ID, "it was cancelled while it was %s and may have acted: leased %v, ambiguous since %v, recorded %v", b.Status, b.Lease != nil, b.AmbiguousAt, b.Outcome != nil)
		}
		j.byHand(Cancel, RuleCancelled, a)
	case b.Lease != nil: // the holder's, also where somebody unlocked it meanwhile
		j.settled(b, a)
	case hastened(b, a):
	default:
		j.wrong(RuleUnowned, a.ID, "it was changed from %s to %s while nobody held it", b.end(), a.end())
	}
}

// hastened reports whether all that happened is that an intent which the provider refused became due sooner.
// A worker does so when a hold ends.
func hastened(b, a *Doc) bool {
	then := *b
	then.DueAt = a.DueAt
	return b.Status == string(outbox.StatusPending) && b.LastError != nil && b.LastError.Class == string(outbox.Hold) &&
		a.DueAt.Before(b.DueAt) && reflect.DeepEqual(&then, a)
}

// claim checks the beginning of a lease.
func (j *judge) claim(l *life, b, a *Doc) {
	j.totals.Claims++
	now := lease{a.Lease.Owner, a.Lease.Token, a.Lease.At, a.DueAt, b.Outcome != nil}
	for _, old := range l.leases {
		if old.token == now.token {
			j.wrong(RuleTokenReused, a.ID, "the lease of %s has the token of an earlier one", stamp(now.at))
		}
	}
	l.leases = append(l.leases, now)
	if a.Attempts != b.Attempts+1 {
		j.wrong(RuleUncounted, a.ID, "the claim of %s by %s led from %d attempts to %d", stamp(now.at), now.owner, b.Attempts, a.Attempts)
	}
	length := now.due.Sub(now.at)
	// What needs no call is settled under a lease of another length.
	expired := (!b.ExpiresAt.IsZero() && !b.ExpiresAt.After(now.at) || b.Outcome != nil) && length == j.Rules.Expiry
	if want, ok := j.Rules.Lease[a.Kind]; ok && length != want && !expired {
		j.wrong(RuleLeaseLength, a.ID, "the lease of %s is %v long, want %v", stamp(now.at), length, want)
	}
	again := b.Status == string(outbox.StatusLeased)
	unlocked := !again && b.Lease != nil // by hand: its holder may have called
	if a.Lease.Reclaimed != (again || unlocked) {
		j.wrong(RuleStolen, a.ID, "it was claimed at %s from %s, and reclaimed is %v", stamp(now.at), b.Status, a.Lease.Reclaimed)
	}
	switch {
	case again && b.DueAt.After(now.at):
		j.wrong(RuleStolen, a.ID, "it was claimed at %s by %s, and the lease of %s ran until %s", stamp(now.at), now.owner, b.Lease.Owner, stamp(b.DueAt))
	case !again && !expired && b.DueAt.After(now.at):
		j.wrong(RuleEarly, a.ID, "it was claimed %v before it was due", b.DueAt.Sub(now.at))
	}
	if again {
		j.ranOut(a.ID, lease{owner: b.Lease.Owner, token: b.Lease.Token, at: b.Lease.At, due: b.DueAt})
	}
	j.owner(a.ID, now)
}

// byHand checks that a person did what was seen.
func (j *judge) byHand(what, rule string, a *Doc) {
	if j.hands[Hand{a.ID, what}] {
		j.totals.Hands[what]++
		return
	}
	j.wrong(rule, a.ID, "it was changed to %s as people do it (%s), and nobody did", a.Status, what)
}

// owner checks that a lease began while its worker lived. Only what the database had already received, and was kept
// from carrying out by trouble, may follow its worker's end.
func (j *judge) owner(id string, l lease) {
	w := j.workers[l.owner]
	if w == nil {
		j.wrong(RuleDeadOwner, id, "the lease of %s is of the worker %s, which nobody started", stamp(l.at), l.owner)
		return
	}
	if w.Ended.IsZero() || !l.at.After(w.Ended.Add(j.Rules.Skew)) {
		return
	}
	for _, t := range j.Troubles {
		if (t.Slot < 0 || t.Slot == w.Slot) && t.Overlaps(w.Ended.Add(-j.Rules.Skew), l.at) && !l.at.After(t.To.Add(j.Rules.Recovery)) {
			return
		}
	}
	j.wrong(RuleDeadOwner, id, "its lease began at %s, and its worker %s had ended at %s", stamp(l.at), l.owner, stamp(w.Ended))
}

// ranOut checks that there was a reason why nobody settled under a lease: its worker died or was frozen, or could not
// reach the database when it had an outcome to write.
func (j *judge) ranOut(id string, l lease) {
	j.totals.Reclaims++
	w := j.workers[l.owner]
	if w == nil || w.Told != "" && w.Ended.Before(l.due.Add(j.Rules.Skew)) {
		return
	}
	for _, f := range w.Frozen {
		if f.Overlaps(l.at.Add(-j.Rules.Skew), l.due) {
			return
		}
	}
	for _, t := range j.Troubles {
		// What was in vain for that long is tried again before the lease is over, unless the trouble lasts.
		if (t.Slot < 0 || t.Slot == w.Slot) && t.Overlaps(l.at.Add(-j.Rules.Skew), l.due) && t.To.Add(j.Rules.Recovery).After(l.due) {
			return
		}
	}
	j.wrong(RuleRanOut, id, "the lease %v ran out, and nothing had kept the worker from settling", l)
}

// settled checks that the change that ended a lease was made by its holder.
func (j *judge) settled(b, a *Doc) {
	if a.Attempts > b.Attempts || a.Attempts < b.Attempts-1 {
		// Claims that ran out one after another are counted by the database beyond what may be; settling takes them
		// back.
		if a.Attempts > b.Attempts || a.Attempts < len(b.attempts()) {
			j.wrong(RuleAttempts, a.ID, "settling led from %d attempts to %d", b.Attempts, a.Attempts)
		}
	}
	for _, r := range added(b.attempts(), a.attempts()) {
		if r.Worker == "" { // an attempt whose lease ran out
			continue
		}
		if r.Worker != b.Lease.Owner || !r.At.Equal(b.Lease.At) {
			j.wrong(RuleStaleSettle, a.ID, "attempt %d of %s, claimed at %s, was settled while %s held the lease of %s", r.Attempt, r.Worker, stamp(r.At), b.Lease.Owner, stamp(b.Lease.At))
		}
	}
}

// added returns the records that the later history has more. A full history has lost its oldest ones.
func added(before, after []Record) []Record {
	if len(after) < outbox.MaxHistory {
		return after[min(len(before), len(after)):]
	}
	for n := len(before); n > 0; n-- {
		if last := before[len(before)-1]; after[n-1] == last {
			return after[n:]
		}
	}
	return after
}

// together checks that a follow-up was inserted by the transaction that ended its parent.
func (j *judge) together(k *known) {
	born, ended := j.life(k.ID).born, j.life(k.parent.ID).ended
	switch {
	case born == nil || ended == nil:
		j.wrong(RuleFollowUpApart, k.ID, "the change stream did not show both its insert and its parent's end")
	case born.Txn == "" || born.Txn != ended.Txn || born.Time != ended.Time:
		j.wrong(RuleFollowUpApart, k.ID, "it was not inserted in the transaction that ended its parent (%s)", strings.TrimSpace(born.Txn+" "+ended.Txn))
	}
}
