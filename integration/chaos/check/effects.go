package check

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers/simulator"
)

// truth compares the end of an intent with its effects.
func (j *judge) truth(k *known, doc *Doc, effects []simulator.Effect) {
	n := len(effects)
	j.multiple(k, effects)
	switch {
	case k.Oversized && (n > 0 || doc.Status != string(outbox.StatusCancelled) && doc.end() != "dead/invalid" && doc.end() != "dead/expired"):
		j.wrong(RuleOversized, k.ID, "what follows it is too large, and it is %s with %d effects", doc.end(), n)
	case k.Refused && n > 0:
		j.wrong(RuleUnknown, k.ID, "the provider refuses it, and it had %d effects", n)
	case doc.Status == string(outbox.StatusDone) && n == 0:
		j.wrong(RuleNoEffect, k.ID, "it is done, and the provider had no effect")
	case doc.Status == string(outbox.StatusDone):
		j.receipt(k, doc, effects)
	case doc.Status == string(outbox.StatusCancelled) && n > 0:
		j.wrong(RuleFalseNo, k.ID, "it was cancelled before it was sent, and it had %d effects", n)
	case n > 0 && saysNo(k, doc) && !j.frozenFor(k, effects):
		j.wrong(RuleFalseNo, k.ID, "it is %s, which says that it had no effect, and it had %d", doc.end(), n)
	}
	if k.Kind == outbox.KindCharge {
		for _, e := range effects {
			j.key(k, doc, e)
		}
	}
}

// key checks that a charge was confirmed under its own key, or under one of the fresh ones that its progress tells of.
func (j *judge) key(k *known, doc *Doc, e simulator.Effect) {
	want := k.ID + ":confirm"
	suffix, own := strings.CutPrefix(e.Key, want)
	suffix = strings.TrimPrefix(suffix, ":")
	if j.Namespace != "" {
		begin, end := j.Namespace+"/s0/confirm", "/"+k.ID
		want = begin + end
		suffix, own = strings.CutPrefix(e.Key, begin)
		var last bool
		suffix, last = strings.CutSuffix(suffix, end)
		suffix, own = strings.TrimPrefix(suffix, "."), own && last
	}
	fresh, err := strconv.Atoi(suffix)
	if own && (suffix == "" || err == nil && doc.Progress != nil && fresh <= doc.Progress.Confirm) {
		return
	}
	j.wrong(RuleKey, k.ID, "the charge was confirmed under the key %q, want %q", e.Key, want)
}

// saysNo reports whether the reason of a dead letter says that there was no effect.
func saysNo(k *known, doc *Doc) bool {
	switch outbox.DeadReason(doc.DeadReason) {
	case outbox.ReasonExhausted, outbox.ReasonExpired, outbox.ReasonInvalid:
		return true
	case outbox.ReasonPermanent:
		return doc.AmbiguousAt.IsZero() || k.Kind == outbox.KindCharge
	case outbox.ReasonAmbiguous:
	}
	return false
}

// multiple checks that there are no more effects than the policy allows, and counts what it does allow.
func (j *judge) multiple(k *known, effects []simulator.Effect) {
	n := len(effects)
	if n < 2 {
		return
	}
	switch {
	case k.Kind == outbox.KindCharge:
		j.wrong(RuleChargedTwice, k.ID, "the money was moved %d times", n)
	case k.Policy == string(outbox.Retry):
		if claims := len(j.life(k.ID).leases); n > claims {
			j.wrong(RuleDuplicate, k.ID, "%d effects of %d attempts", n, claims)
		}
		j.totals.Duplicates[k.Kind+" retry"] += n - 1
	case j.frozenFor(k, effects):
		j.totals.Duplicates[k.Kind+" frozen"] += n - 1
	default:
		j.totals.Duplicates[k.Kind+" "+k.Policy] += n - 1
		j.wrong(RuleDuplicate, k.ID, "%d effects under the policy %s, and no worker was frozen in the middle of sending it", n, k.Policy)
	}
}

// frozenFor reports whether a worker that held the intent was frozen from before its call's end until its lease was
// over, and an effect came right after it went on: the one way in which an e-mail or text message can be sent twice.
func (j *judge) frozenFor(k *known, effects []simulator.Effect) bool {
	if k.Kind == outbox.KindCharge {
		return false
	}
	return slices.ContainsFunc(effects, func(e simulator.Effect) bool { return j.frozen(k.ID, e.At) })
}

func (j *judge) frozen(id string, at time.Time) bool {
	for _, l := range j.life(id).leases {
		w := j.workers[l.owner]
		if w == nil {
			continue
		}
		for _, f := range w.Frozen {
			began := f.From.After(l.at.Add(-j.Rules.Skew)) && f.From.Before(l.due.Add(j.Rules.Skew))
			outlived := f.To.After(l.due.Add(-j.Rules.Timeout - j.Rules.Fence - j.Rules.Skew))
			soon := at.After(f.To.Add(-j.Rules.Skew)) && at.Before(f.To.Add(j.Rules.Timeout+j.Rules.Delay+j.Rules.Skew))
			if began && outlived && soon {
				return true
			}
		}
	}
	return false
}

// receipt checks that the result names an effect of this intent. That of a message may be empty where the rest of the
// answer was lost behind its status.
func (j *judge) receipt(k *known, doc *Doc, effects []simulator.Effect) {
	if doc.Result == nil {
		j.wrong(RuleReceipt, k.ID, "it is done and has no receipt")
		return
	}
	id := doc.Result.ID
	if id == "" && k.Kind != outbox.KindCharge {
		return
	}
	if !slices.ContainsFunc(effects, func(e simulator.Effect) bool {
		return e.Provider == doc.Result.Provider && (id == e.ID || strings.HasPrefix(id, e.ID+"."))
	}) {
		j.wrong(RuleReceipt, k.ID, "its receipt %q of %q is of no effect that it had", id, doc.Result.Provider)
	}
}

// moments checks that each effect happened while a lease allowed it, and not after the intent's expiry. A call has
// ended when its lease has the fence left; only what the network or the provider kept may come later.
func (j *judge) moments(k *known, effects []simulator.Effect) {
	for _, e := range effects {
		late := j.Rules.Skew
		if slices.ContainsFunc(j.Delays, func(s Span) bool { return s.Overlaps(e.At.Add(-j.Rules.Delay), e.At) }) {
			late += j.Rules.Delay
		}
		if !k.Expires.IsZero() && e.At.After(k.Expires.Add(j.Rules.Timeout+late)) && !j.frozen(k.ID, e.At) {
			j.wrong(RuleExpired, k.ID, "it was sent %v after its expiry", e.At.Sub(k.Expires))
		}
		leases := j.life(k.ID).leases
		within := func(writing bool) bool {
			return slices.ContainsFunc(leases, func(l lease) bool {
				return l.writing == writing && e.At.After(l.at.Add(-j.Rules.Skew)) && e.At.Before(l.due.Add(late-j.Rules.Fence))
			})
		}
		switch {
		case within(false) || j.frozen(k.ID, e.At):
		case within(true):
			j.wrong(RuleRecorded, k.ID, "its outcome was recorded, and it was sent again at %s", stamp(e.At))
		default:
			j.wrong(RuleOutsideLease, k.ID, "it was sent at %s, and its leases were %v", stamp(e.At), leases)
		}
	}
}

// followUp checks that a follow-up exists exactly where its parent ended in the way that it follows.
func (j *judge) followUp(k *known, doc *Doc) {
	parent := j.Docs[k.parent.ID]
	want := parent != nil && parent.Status == string(map[bool]outbox.Status{true: outbox.StatusDone, false: outbox.StatusDead}[k.onDone])
	end := "missing"
	if parent != nil {
		end = parent.end()
	}
	switch {
	case want && doc == nil:
		j.wrong(RuleFollowUp, k.ID, "its parent is %s, and it does not exist", end)
	case !want && doc != nil:
		j.wrong(RuleFollowUp, k.ID, "its parent is %s, and it exists", end)
	case doc != nil:
		j.totals.FollowUps++
		j.together(k)
	}
}

// consequences checks write_back.
func (j *judge) consequences(k *known, doc *Doc) {
	if k.Oversized {
		j.totals.Oversized++
	}
	if k.Shared != "" {
		j.shared(k, doc)
	}
	if !k.WriteBack {
		return
	}
	order, ok := j.Orders[k.order]
	if !ok {
		return // torn, which is reported
	}
	want := Order{ID: k.order, State: "open"}
	switch outbox.Status(doc.Status) {
	case outbox.StatusDone:
		want.State, want.Receipt = "done", cmp.Or(doc.Result, new(Result)).ID
	case outbox.StatusDead:
		want.State, want.Why, want.Code = "dead", doc.DeadReason, cmp.Or(doc.LastError, new(Error)).Code
	case outbox.StatusPending, outbox.StatusLeased, outbox.StatusCancelled: // nothing was written back
	}
	if order != want {
		j.wrong(RuleWriteBack, k.ID, "it is %s, and write_back left %+v, want %+v", doc.end(), order, want)
		return
	}
	if want.State != "open" {
		j.totals.WriteBacks++
	}
}

// shared checks what an intent wrote back to a document to which many do.
func (j *judge) shared(k *known, doc *Doc) {
	want := ""
	if status := outbox.Status(doc.Status); status == outbox.StatusDone || status == outbox.StatusDead {
		want = doc.end()
	}
	if got := j.Shared[k.Shared][k.ID]; got != want {
		j.wrong(RuleWriteBack, k.ID, "it is %s, and write_back left %q in the shared document %s, want %q", doc.end(), got, k.Shared, want)
		return
	}
	if want != "" {
		j.totals.WriteBacks++
	}
}
