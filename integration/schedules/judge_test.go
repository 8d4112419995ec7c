package schedules

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers/simulator"
)

// verdict judges the end of one intent.
type verdict struct {
	w       *world
	i       *wanted
	doc     map[string]any
	status  string
	reason  string
	marked  bool // ambiguous_at is set
	effects []simulator.Effect
	history []map[string]any
	failed  []string
}

func (v *verdict) wrong(format string, args ...any) {
	v.failed = append(v.failed, fmt.Sprintf("%s (%s, %s%s, %d effects, %s): ", v.i.id, v.i.kind, v.status, v.reason, len(v.effects), v.i.policy)+fmt.Sprintf(format, args...))
}

// judge compares what the store says with what the providers did, and fails the test with the whole story.
func (w *world) judge() {
	w.t.Helper()
	problems := w.happened.wrong
	effects := make(map[string][]simulator.Effect)
	for _, e := range w.sim.Effects() {
		effects[e.OutboxID] = append(effects[e.OutboxID], e)
	}
	known := make(map[string]bool)
	for _, i := range w.plan.all() {
		known[i.id] = true
		v := &verdict{w: w, i: i, doc: w.store.Get(i.id), effects: effects[i.id]}
		v.judge()
		problems = append(problems, v.failed...)
	}
	for _, doc := range w.store.All() {
		if id := fmt.Sprint(doc["_id"]); !known[id] {
			problems = append(problems, "there is an intent that nobody wanted: "+id)
		}
	}
	for id := range effects {
		if !known[id] {
			problems = append(problems, "there is an effect of an unknown intent "+id)
		}
	}
	if len(problems) == 0 {
		return
	}
	var docs strings.Builder
	for _, doc := range w.store.All() {
		fmt.Fprintf(&docs, "  %v\n", doc)
	}
	for _, e := range w.sim.Effects() {
		fmt.Fprintf(&docs, "  effect %s of %s at %v\n", e.ID, e.OutboxID, e.At.Sub(w.story.began))
	}
	w.t.Errorf("seed %d: OUTBOXD_SCHEDULES_SEED=%[1]d OUTBOXD_SCHEDULES=1 draws this schedule again\n\n%s\n\n%s\nwhat happened:\n%s\nthe end:\n%s",
		w.plan.seed, strings.Join(problems, "\n"), w.plan, w.story.String(), docs.String())
}

func (v *verdict) judge() {
	if v.i.parent != nil && !v.expected() {
		if v.doc != nil || len(v.effects) > 0 {
			v.wrong("a follow-up of the wrong end exists")
		}
		return
	}
	if v.doc == nil {
		v.wrong("it is lost")
		return
	}
	v.status, _ = v.doc["status"].(string)
	if reason, ok := v.doc["dead_reason"].(string); ok {
		v.reason = "/" + reason
	}
	_, v.marked = v.doc["ambiguous_at"]
	list, _ := v.doc["history"].([]any)
	for _, item := range list {
		if record := item.(map[string]any); record["attempt"] != nil { // of attempts alone
			v.history = append(v.history, record)
		}
	}
	if v.status != "done" && v.status != "dead" {
		v.wrong("it has not ended")
		return
	}
	v.form()
	v.counts()
	v.truth()
	v.cause()
	v.consequences()
	if v.i.kind == outbox.KindCharge {
		v.keys()
	}
}

// expected reports whether a follow-up should exist.
func (v *verdict) expected() bool {
	parent := v.w.store.Get(v.i.parent.id)
	return parent["status"] == map[bool]string{true: "done", false: "dead"}[v.i.onDone]
}

// form checks what every final document looks like.
func (v *verdict) form() {
	for _, field := range []string{"lease", "due_at"} {
		if _, ok := v.doc[field]; ok {
			v.wrong("it has ended and still has %s", field)
		}
	}
	if v.status == "done" && v.marked {
		v.wrong("it is done and its outcome is ambiguous")
	}
	if _, ok := v.doc["last_error"]; v.status == "dead" && !ok {
		v.wrong("a dead letter without last_error")
	}
}

// counts checks that attempts and history add up, and that nothing took an attempt that may not.
func (v *verdict) counts() {
	attempts, _ := v.doc["attempts"].(int64)
	if attempts > int64(max(v.i.attempts, 0)) {
		v.wrong("%d attempts of %d", attempts, v.i.attempts)
	}
	if len(v.history) != int(min(attempts, outbox.MaxHistory)) {
		v.wrong("%d attempts and %d records in history", attempts, len(v.history))
		return
	}
	for n, record := range v.history {
		if want := attempts - int64(len(v.history)) + int64(n) + 1; record["attempt"] != want {
			v.wrong("record %d of history is attempt %v, want %d", n, record["attempt"], want)
		}
	}
	spent := 0
	for _, record := range v.history {
		if record["outcome"] != string(outbox.Done) && !(v.i.refused && record["outcome"] == string(outbox.Permanent)) {
			spent++
		}
	}
	if most := v.excuses(); spent > most {
		v.wrong("%d attempts came to nothing, and there were reasons for %d", spent, most)
	}
}

// excuses bounds how many attempts of the intent may have come to nothing.
func (v *verdict) excuses() int {
	n := v.w.reclaims[v.i.id] + v.w.unsaved[v.i.id] + v.w.refusedDials + len(v.w.ended) + len(v.w.stalls)
	for _, f := range v.w.plan.faults {
		switch {
		case !touches(f, v.i):
		case f.Do == simulator.DoDelay || f.Do == simulator.DoHang: // meanwhile the key is in use
			n += 100
		case f.Saved: // replayed once
			n += 2 * f.Match.Times
		default:
			n += f.Match.Times
		}
	}
	return n
}

// truth compares the end with the effects.
func (v *verdict) truth() {
	n := len(v.effects)
	if n > 1 && (v.i.kind == outbox.KindCharge || v.i.policy != outbox.Retry) {
		v.wrong("the effect happened more than once")
	}
	switch {
	case v.status == "done" && n == 0:
		v.wrong("it is done without an effect")
	case v.status == "done":
		v.receipt()
	case v.reason == "/exhausted" || v.reason == "/expired" || v.reason == "/invalid":
		if n > 0 || v.marked {
			v.wrong("it claims to have had no effect (ambiguous_at: %v)", v.marked)
		}
	case v.reason == "/permanent":
		if n > 0 && (!v.marked || v.i.kind == outbox.KindCharge) {
			v.wrong("it claims to have had no effect (ambiguous_at: %v)", v.marked)
		}
	case v.reason == "/ambiguous":
		if !v.marked {
			v.wrong("its outcome is ambiguous, and ambiguous_at is not set")
		}
	default:
		v.wrong("it has an unknown end")
	}
	if v.i.refused && n > 0 {
		v.wrong("the provider refuses it, and it had an effect")
	}
	if v.i.expires == 0 {
		return
	}
	grace := v.w.plan.latency + time.Millisecond
	for _, f := range v.w.plan.faults {
		if touches(f, v.i) {
			grace += f.Delay
		}
	}
	for _, e := range v.effects {
		if late := e.At.Add(-v.w.plan.skew).Sub(v.w.story.began) - v.i.expires; late > grace {
			v.wrong("it was sent %v after it had expired", late)
		}
	}
}

// receipt checks that the result names an effect that the provider really had. That of a message may be empty where the
// rest of the answer was lost behind its status.
func (v *verdict) receipt() {
	result, _ := v.doc["result"].(map[string]any)
	id, _ := result["id"].(string)
	if id == "" && v.i.kind != outbox.KindCharge {
		return
	}
	if !slices.ContainsFunc(v.effects, func(e simulator.Effect) bool { return id == e.ID || strings.HasPrefix(id, e.ID+".") }) {
		v.wrong("its receipt %q is of no effect", id)
	}
}

// cause checks that the reason of a dead letter is the right one, and that it had to die.
func (v *verdict) cause() {
	attempts, _ := v.doc["attempts"].(int64)
	var doubts, unshown int
	var refusal bool
	for _, f := range v.w.plan.faults {
		if !touches(f, v.i) {
			continue
		}
		refusal = refusal || refuses(f) && !isQuestion(f)
		if isQuestion(f) {
			unshown++
		} else {
			doubts++
		}
	}
	doubts += v.w.reclaims[v.i.id] + len(v.w.ended)
	unshown += v.w.refusedDials
	switch v.reason {
	case "":
		if v.i.refused {
			v.wrong("the provider refuses it, and it is done")
		}
	case "/permanent":
		if !v.i.refused && !refusal {
			v.wrong("nobody refused it")
		}
	case "/exhausted":
		if attempts < int64(v.i.attempts) && !v.givenUp() {
			v.wrong("it has an attempt left: %d of %d", attempts, v.i.attempts)
		}
	case "/expired":
		if v.i.expires == 0 {
			v.wrong("it does not expire")
		}
	case "/ambiguous":
		v.doubtful(attempts, doubts, unshown)
	}
}

// givenUp reports whether the intent could not be attempted for as long as the policy allows, which ends it as well.
func (v *verdict) givenUp() bool {
	begun, _ := v.doc["first_attempt_at"].(time.Time)
	died, _ := v.doc["dead_at"].(time.Time)
	return died.Sub(begun) >= outbox.DefaultGiveUp
}

func (v *verdict) doubtful(attempts int64, doubts, unshown int) {
	switch {
	case doubts == 0:
		v.wrong("there is no reason for a doubt")
	case v.i.kind == outbox.KindCharge && unshown == 0:
		v.wrong("Stripe could be asked at any time")
	case v.i.kind == outbox.KindCharge:
	case v.i.policy == outbox.Reconcile && unshown == 0:
		v.wrong("the provider could be asked at any time")
	case v.i.policy == outbox.Retry && attempts < int64(v.i.attempts) && v.i.expires == 0:
		v.wrong("it has an attempt left: %d of %d", attempts, v.i.attempts)
	}
}

// consequences checks follow-ups and write_back.
func (v *verdict) consequences() {
	for _, child := range v.i.children {
		if want := child.onDone == (v.status == "done"); want != (v.w.store.Get(child.id) != nil) {
			v.wrong("follow-up %s: there is one: %v, want %v", child.id, !want, want)
		}
	}
	if !v.i.writeBack {
		return
	}
	order := v.w.store.Business(orders, v.i.id)
	want := map[string]any{"_id": v.i.id, "state": v.status}
	if v.status == "done" {
		result, _ := v.doc["result"].(map[string]any)
		want["receipt"], _ = result["id"].(string)
	} else {
		lastError, _ := v.doc["last_error"].(map[string]any)
		want["why"], want["code"] = v.doc["dead_reason"], lastError["code"]
	}
	if fmt.Sprint(order) != fmt.Sprint(want) {
		v.wrong("write_back left %v, want %v", order, want)
	}
}

// keys checks that every request of a charge carried the same keys, unless a server error is replayed under one or it
// may be forgotten.
func (v *verdict) keys() {
	for _, f := range v.w.plan.faults {
		if f.Saved && touches(f, v.i) {
			return
		}
	}
	for key := range v.w.keys {
		id, step, _ := strings.Cut(key, ":c")
		if id == v.i.id && step != "reate" && step != "onfirm" && !v.longLived() {
			v.wrong("it used the key %s", key)
		}
	}
}

// longLived reports whether the schedule lasted longer than Stripe's keys.
func (v *verdict) longLived() bool {
	for _, lives := range v.w.plan.slots {
		for _, l := range lives {
			if l.pause > 2*time.Hour {
				return true
			}
		}
	}
	return false
}
