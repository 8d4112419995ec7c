package check

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/outboxd/outboxd/integration/chaos/journal"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers/simulator"
)

// The rules, by the names under which they are reported.
const (
	RuleLost          = "lost"            // committed, and not in the database
	RuleStuck         = "stuck"           // neither final nor rightfully waiting
	RuleAborted       = "aborted"         // aborted, and in the database or at a provider
	RuleTorn          = "torn"            // one half of a transaction without the other
	RuleUnknown       = "unknown-intent"  // nobody wrote it
	RuleChargedTwice  = "charged-twice"   // more than one effect of a charge
	RuleDuplicate     = "duplicate"       // more effects than the policy allows
	RuleNoEffect      = "done-in-vain"    // done without an effect
	RuleFalseNo       = "false-no"        // dead for a reason that says that there was no effect
	RuleReceipt       = "receipt"         // a receipt that the provider did not give for it
	RuleKey           = "key"             // not the idempotency key that the contract names
	RuleExpired       = "sent-expired"    // sent after its expiry
	RuleOutsideLease  = "outside-lease"   // sent at a time when no lease allowed it
	RuleOutlived      = "call-too-long"   // a call that went on when its lease was over, or so late that nothing could be written under it
	RuleFollowUp      = "follow-up"       // missing, or there without reason
	RuleFollowUpApart = "follow-up-apart" // not in its parent's transaction
	RuleWriteBack     = "write-back"      // not what the final state says
	RuleAttempts      = "attempts"        // attempts and history do not add up
	RuleUncounted     = "claim-uncounted" // a claim that did not raise attempts by one
	RuleLeaseLength   = "lease-length"    // not the lease that the kind has
	RuleStolen        = "lease-stolen"    // claimed under another's lease
	RuleDeadOwner     = "lease-of-dead"   // a lease that outlives its worker by more than its length
	RuleStaleSettle   = "stale-settle"    // settled by another than the holder of the lease
	RuleUnowned       = "unowned-change"  // changed without a lease
	RuleChangedEnd    = "changed-end"     // changed after its end
	RuleRanOut        = "lease-ran-out"   // a lease ran out without a reason
	RuleCrashed       = "worker-crashed"  // a worker ended without being told to
	RuleDrain         = "drain"           // a worker that was told to end did not do so in good order
	RuleEarly         = "claimed-early"   // claimed before it was due
	RuleTokenReused   = "token-reused"    // a lease token that had been given before
	RuleRecorded      = "recorded"        // a recorded outcome that was sent again, was changed, or was never written
	RuleOversized     = "oversized"       // sent or settled otherwise, though what follows it is too large
	RuleCancelled     = "cancelled"       // cancelled though it may have acted, or by nobody
)

// Violation is a promise that was broken.
type Violation struct {
	Rule string `json:"rule"`
	ID   string `json:"id"` // of the intent or worker
	Text string `json:"text"`
}

func (v Violation) String() string { return fmt.Sprintf("%s: %s: %s", v.Rule, v.ID, v.Text) }

// Report is what came of a run.
type Report struct {
	Violations []Violation `json:"violations,omitempty"`
	Totals     Totals      `json:"totals"`
}

// Totals count a run.
type Totals struct {
	Transactions map[string]int `json:"transactions"` // by result
	Intents      map[string]int `json:"intents"`      // by kind, follow-ups among them
	Ends         map[string]int `json:"ends"`         // by kind and end
	Effects      map[string]int `json:"effects"`      // by kind
	Duplicates   map[string]int `json:"duplicates"`   // second and further effects, by kind and policy, and "frozen"
	FollowUps    int            `json:"follow_ups"`
	WriteBacks   int            `json:"write_backs"`
	Waiting      int            `json:"waiting"` // rightfully
	Claims       int            `json:"claims"`
	Reclaims     int            `json:"reclaims"` // of leases that ran out
	Recorded     int            `json:"recorded"` // outcomes that were recorded because their consequences had to wait
	Hands        map[string]int `json:"hands"`    // what was done by hand, and seen
	Oversized    int            `json:"oversized"`
	Lost         int            `json:"lost"`
	ChargedTwice int            `json:"charged_twice"`
}

// Judge checks every promise.
func Judge(h History) Report {
	j := &judge{History: h, known: make(map[string]*known), effects: make(map[string][]simulator.Effect), lives: make(map[string]*life), workers: make(map[string]*Worker), hands: make(map[Hand]bool)}
	j.totals = Totals{Transactions: make(map[string]int), Intents: make(map[string]int), Ends: make(map[string]int), Effects: make(map[string]int), Duplicates: make(map[string]int), Hands: make(map[string]int)}
	for _, hand := range h.Hands {
		j.hands[hand] = true
	}
	for i := range h.Workers {
		j.workers[h.Workers[i].Name] = &h.Workers[i]
	}
	j.read()
	j.live()
	for _, id := range slices.Sorted(maps.Keys(j.known)) {
		j.intent(j.known[id])
	}
	j.strangers()
	j.processes()
	slices.SortStableFunc(j.violations, func(a, b Violation) int { return cmp.Or(cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.ID, b.ID)) })
	for _, v := range j.violations {
		switch v.Rule {
		case RuleLost:
			j.totals.Lost++
		case RuleChargedTwice:
			j.totals.ChargedTwice++
		}
	}
	return Report{j.violations, j.totals}
}

type judge struct {
	History
	known      map[string]*known
	effects    map[string][]simulator.Effect
	lives      map[string]*life
	workers    map[string]*Worker
	hands      map[Hand]bool
	violations []Violation
	totals     Totals
}

// known is an intent that somebody wrote or may have written.
type known struct {
	Intent
	order  string // empty: a follow-up
	result string // of its transaction
	parent *known
	onDone bool // a follow-up of its parent's being done
}

func (j *judge) wrong(rule, id, format string, args ...any) {
	j.violations = append(j.violations, Violation{rule, id, fmt.Sprintf(format, args...)})
}

// read learns from the journal who was written, and sorts the effects.
func (j *judge) read() {
	last := make(map[string]string)
	for _, e := range j.Journal {
		last[e.Order] = e.Result
		for _, in := range e.Intents {
			j.know(in, e.Order, nil, false)
		}
	}
	for order, result := range last {
		if result == Begun {
			result = Unknown
		}
		j.totals.Transactions[result]++
		last[order] = result
	}
	for _, k := range j.known {
		if k.order != "" {
			k.result = last[k.order]
		}
	}
	for order, result := range last {
		j.order(order, result)
	}
	for _, e := range j.Effects {
		id := e.OutboxID
		if id == "" {
			_, id, _ = strings.Cut(e.Body, TextPrefix)
		}
		j.effects[id] = append(j.effects[id], e)
		j.totals.Effects[e.Kind]++
	}
}

// TextPrefix stands before the id in a text message, since Twilio keeps no id of ours.
const TextPrefix = "chaos "

func (j *judge) know(in Intent, order string, parent *known, onDone bool) {
	k := &known{Intent: in, order: order, parent: parent, onDone: onDone}
	j.known[in.ID] = k
	for _, f := range in.OnDone {
		j.know(f, "", k, true)
	}
	for _, f := range in.OnDead {
		j.know(f, "", k, false)
	}
}

// order checks that a transaction is there whole, or not at all.
func (j *judge) order(id, result string) {
	_, there := j.Orders[id]
	for _, k := range j.known {
		if k.order != id {
			continue
		}
		if _, ok := j.Docs[k.ID]; ok != there {
			j.wrong(RuleTorn, k.ID, "its transaction was %s; the business document %s is there: %v, the intent: %v", result, id, there, ok)
		}
	}
}

// intent checks one intent against everything that was seen of it.
func (j *judge) intent(k *known) {
	doc, effects := j.Docs[k.ID], j.effects[k.ID]
	switch {
	case k.parent != nil:
		j.followUp(k, doc)
	case k.result == Committed && doc == nil:
		j.wrong(RuleLost, k.ID, "its transaction was acknowledged as committed, and it is not in the database")
	case k.result == Aborted && doc != nil:
		j.wrong(RuleAborted, k.ID, "its transaction was aborted, and it is in the database (%s)", doc.end())
	}
	if doc == nil {
		if len(effects) > 0 {
			j.wrong(RuleAborted, k.ID, "it does not exist (%s), and it had %d effects", cmp.Or(k.result, "a follow-up"), len(effects))
		}
		return
	}
	j.totals.Intents[k.Kind]++
	j.totals.Ends[k.Kind+" "+doc.end()]++
	if !doc.Final() {
		j.waiting(k, doc, effects)
		return
	}
	if doc.Outcome != nil {
		j.wrong(RuleRecorded, k.ID, "it is %s, and still has the outcome that was recorded on the way", doc.end())
	}
	j.counts(k, doc)
	j.truth(k, doc, effects)
	j.moments(k, effects)
	j.consequences(k, doc)
}

// waiting accepts what is not due yet, and has not been touched.
func (j *judge) waiting(k *known, doc *Doc, effects []simulator.Effect) {
	if doc.Status == string(outbox.StatusPending) && doc.DueAt.After(j.End) && k.Due.After(j.End) && doc.Attempts == 0 && len(effects) == 0 {
		j.totals.Waiting++
		return
	}
	if doc.Outcome != nil {
		j.wrong(RuleRecorded, k.ID, "its outcome (%s) is recorded, and was never written", cmp.Or(doc.Outcome.Reason, doc.Outcome.Event))
		return
	}
	j.wrong(RuleStuck, k.ID, "it is %s, due %v after the end of the run, after %d attempts and %d effects", doc.Status, doc.DueAt.Sub(j.End).Round(time.Millisecond), doc.Attempts, len(effects))
}

// counts checks that attempts and history add up.
func (j *judge) counts(k *known, doc *Doc) {
	if doc.Status == string(outbox.StatusCancelled) {
		return
	}
	if doc.Attempts > k.MaxAttempts {
		j.wrong(RuleAttempts, k.ID, "%d attempts of %d", doc.Attempts, k.MaxAttempts)
	}
	records := doc.attempts()
	if want := min(doc.Attempts, outbox.MaxHistory); len(records) != want {
		j.wrong(RuleAttempts, k.ID, "%d attempts and %d records in history, want %d", doc.Attempts, len(records), want)
		return
	}
	for n, r := range records {
		if want := doc.Attempts - len(records) + n + 1; r.Attempt != want {
			j.wrong(RuleAttempts, k.ID, "record %d of history is attempt %d, want %d", n, r.Attempt, want)
		}
	}
}

// strangers looks for what nobody wrote.
func (j *judge) strangers() {
	for _, id := range slices.Sorted(maps.Keys(j.Docs)) {
		if j.known[id] == nil {
			j.wrong(RuleUnknown, id, "it is in the database, and nobody wrote it")
		}
	}
	for _, id := range slices.Sorted(maps.Keys(j.effects)) {
		if j.known[id] == nil {
			j.wrong(RuleUnknown, id, "it had %d effects, and nobody wrote it", len(j.effects[id]))
		}
	}
}

// processes checks how the workers ended.
func (j *judge) processes() {
	for _, w := range j.Workers {
		id := cmp.Or(w.Name, fmt.Sprintf("slot %d", w.Slot))
		switch {
		case w.Ended.IsZero():
			j.wrong(RuleDrain, id, "it did not end")
		case w.Told == "" && w.Name != "":
			j.wrong(RuleCrashed, id, "it ended by itself, with exit code %d", w.Code)
		case w.Drained && w.Code != 0:
			j.wrong(RuleDrain, id, "it was told to end while nothing was wrong, and ended with exit code %d", w.Code)
		case w.Told == "term" && w.Code != 0 && w.Code != 1:
			j.wrong(RuleDrain, id, "it was told to end, and ended with exit code %d", w.Code)
		}
		j.calls(w)
	}
}

// calls checks that each call of a worker ended while its lease had the fence left, unless the worker was frozen
// meanwhile.
func (j *judge) calls(w Worker) {
	for _, c := range w.Calls {
		lease, ok := j.Rules.Lease[c.Kind]
		most := lease - j.Rules.Fence
		began := j.endedFrom(w, c).Add(-c.Took - j.Rules.Skew)
		if !ok || c.Took <= most || slices.ContainsFunc(w.Frozen, func(f Span) bool { return f.Overlaps(began, c.Told) }) {
			continue
		}
		j.wrong(RuleOutlived, c.ID, "its call by %s took %v, and may take %v at most under a lease of %v", w.Name, c.Took, most, lease)
	}
}

// endedFrom returns from when on a call may have ended: it is told of when its outcome is written, and trouble delays
// that.
func (j *judge) endedFrom(w Worker, c Call) time.Time {
	from := c.Told
	for changed := true; changed; {
		changed = false
		for _, t := range j.Troubles {
			if (t.Slot < 0 || t.Slot == w.Slot) && t.From.Before(from) && from.Before(t.To.Add(j.Rules.Recovery)) {
				from, changed = t.From, true
			}
		}
	}
	return from
}

// ReadJournal reads the producers' journal.
func ReadJournal(path string) ([]Entry, error) { return journal.Read[Entry](path) }
