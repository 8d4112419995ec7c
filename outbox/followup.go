package outbox

import (
	"maps"
	"slices"
	"time"
)

// FollowUp is an intent that settling another one creates.
type FollowUp struct {
	ID       ID
	Document map[string]any // the whole document but for due_at, which the database's clock gives
	Delay    time.Duration  // from the settling to its due_at
	DedupKey string
	Problems []Problem // if any: it is kept as a dead letter
}

// notInFollowUp are the fields that settling gives a follow-up, and those that workers own.
var notInFollowUp = []string{"_id", "status", "due_at", "attempts", "lease", "first_attempt_at", "ambiguous_at", "generation",
	"progress", "last_error", "history", "dropped", "outcome", "first_due_at", "retried", "resolved", "result", "done_at", "dead_at", "cancelled_at", "dead_reason", "purge_at"}

// ending is one way in which an intent ends, with the list of follow-ups that belongs to it.
type ending struct {
	field  string // the list
	word   string // in the ids of its follow-ups
	status Status
}

var (
	onDone = ending{"on_done", ":done:", StatusDone}
	onDead = ending{"on_dead", ":dead:", StatusDead}
)

// parseFollowUps checks follow-ups and write_back before the parent is sent, with what can be known by then.
func (in *Intent) parseFollowUps(r *reader, rules Rules) {
	if !r.has("on_done") && !r.has("on_dead") && !r.has("write_back") {
		return
	}
	refs := newResolver(nil) // of all of them together
	in.OnDone = in.parseList(r, onDone, refs, rules)
	in.OnDead = in.parseList(r, onDead, refs, rules)
	if w := r.sub("write_back"); w != nil {
		in.WriteBack = parseWriteBack(w, rules)
		in.WriteBack.check(w, refs.in(in.before(StatusDone)), refs.in(in.before(StatusDead)))
	}
}

func (in *Intent) parseList(r *reader, e ending, refs resolver, rules Rules) []map[string]any {
	var list []map[string]any
	refs = refs.in(in.before(e.status))
	for _, f := range r.list(e.field, maxFollowUps) {
		checkFollowUp(f, e, refs, in.followUpID(e.word, len(list)), rules, 1)
		list = append(list, f.doc)
	}
	return list
}

func (in *Intent) followUpID(word string, n int) ID {
	return NewStringID(in.ID.String() + word + itoa(n))
}

// before is the scope as far as it can be known before the intent is settled with the given status.
func (in *Intent) before(status Status) scope {
	s := in.scope()
	if status == StatusDone {
		s["result"] = map[string]any{"provider": later{}, "id": later{}, "status": later{}}
	} else {
		s["last_error"] = map[string]any{"code": later{}}
		s["dead_reason"] = later{}
	}
	return s
}

// scope holds what references can always reach.
func (in *Intent) scope() scope {
	s := scope{"_id": in.ID}
	if in.ID.Type() == StringID { // a string stays a string where a reference alone keeps its type
		s["_id"] = in.ID.String()
	}
	for _, field := range []string{"payload", "metadata"} {
		if v, ok := in.Document[field]; ok {
			s[field] = v
		}
	}
	return s
}

// checkFollowUp reports what makes a follow-up invalid, and returns it with its own references resolved; nil if they
// cannot be. Nested follow-ups refer to the follow-up, not to its parent. depth is 1 for those of the intent itself.
func checkFollowUp(f *reader, e ending, refs resolver, id ID, rules Rules, depth int) map[string]any {
	if len(id.String()) > MaxIDBytes {
		f.problem("_id", "of the follow-up would have more than 200 bytes; shorten the first intent's _id")
	}
	for _, field := range notInFollowUp {
		if f.stands(field) {
			f.problem(field, "must not stand in a follow-up")
		}
	}
	f.integer("delay_seconds", optional, 0, maxDelaySecs)
	if e == onDead {
		f.reasons("when")
	}
	doc, bad := refs.one().instance(f.doc, e)
	if bad != nil {
		f.problem(bad.path, bad.text)
		return nil
	}
	child := &Intent{Document: doc, ID: id}
	r := newReader(doc, f.path, f.problems)
	child.Kind = r.text("kind", required, 0)
	child.parseEnvelope(r)
	child.checkNested(r, refs, rules, depth)
	r.mapped()
	r.rest()
	return doc
}

// checkNested checks the follow-ups and the write_back of a follow-up, which have bounds of their own.
func (in *Intent) checkNested(r *reader, refs resolver, rules Rules, depth int) {
	if !r.has("on_done") && !r.has("on_dead") && !r.has("write_back") {
		return
	}
	refs = refs.nested()
	for _, e := range []ending{onDone, onDead} {
		list := r.list(e.field, maxFollowUps)
		if len(list) > 0 && depth == maxDepth {
			r.problem(e.field, "is more than three levels deep")
			continue
		}
		for n, f := range list {
			checkFollowUp(f, e, refs.in(in.before(e.status)), in.followUpID(e.word, n), rules, depth+1)
		}
	}
	if w := r.sub("write_back"); w != nil {
		parseWriteBack(w, rules).check(w, refs.in(in.before(StatusDone)), refs.in(in.before(StatusDead)))
	}
}

// reasons reads a list of dead reasons that may be absent, but not empty.
func (r *reader) reasons(field string) []DeadReason {
	if !r.has(field) {
		return nil
	}
	var reasons []DeadReason
	for _, s := range r.strings(field, 0, isReason, "one of permanent, exhausted, expired, ambiguous and invalid") {
		reasons = append(reasons, DeadReason(s))
	}
	if list, ok := r.doc[field].([]any); ok && len(list) == 0 {
		r.problem(field, "must name at least one dead_reason; leave it out for all")
	}
	return reasons
}

func isReason(s string) bool {
	switch DeadReason(s) {
	case ReasonPermanent, ReasonExhausted, ReasonExpired, ReasonAmbiguous, ReasonInvalid:
		return true
	default:
		return false
	}
}

// wanted reports whether a follow-up of on_dead belongs to a death for the given reason. One whose list of reasons
// cannot be read belongs to all, so that it is kept as a dead letter and not lost.
func wanted(f map[string]any, reason DeadReason) bool {
	var problems []Problem
	reasons := newReader(f, "", &problems).reasons("when")
	return len(problems) > 0 || len(reasons) == 0 || slices.Contains(reasons, reason)
}

// instance copies a follow-up with its own references resolved; those of its follow-ups and write_back wait for their
// turn. Fields that do not belong to a follow-up stay behind.
func (r resolver) instance(f map[string]any, e ending) (map[string]any, *badReference) {
	own := maps.Clone(f)
	for _, field := range notCopied(e) {
		delete(own, field)
	}
	later := []string{"on_done", "on_dead", "write_back"}
	for _, field := range later {
		delete(own, field)
	}
	doc, bad := r.document(own)
	if bad != nil {
		return nil, bad
	}
	for _, field := range later {
		if v, ok := f[field]; ok {
			if wrong := r.room.take(v); wrong != "" {
				return nil, &badReference{field, wrong}
			}
			doc[field] = v
		}
	}
	return doc, nil
}

// notCopied are the fields of a follow-up that the intent which it becomes does not have.
func notCopied(e ending) []string {
	fields := slices.Concat(notInFollowUp, []string{"delay_seconds"})
	if e == onDead {
		fields = append(fields, "when")
	}
	return fields
}

// Consequences returns what settling the intent by the decision brings along: its follow-ups, and the update of its
// business document, nil if there is none. A malformed intent has only those that can be read.
func (in *Intent) Consequences(d Decision, rules Rules) ([]FollowUp, *Update) {
	s, list, e := in.scope(), in.OnDone, onDone
	switch d.Status {
	case StatusDone:
		s["result"] = map[string]any{"provider": d.Receipt.Provider, "id": d.Receipt.ID, "status": d.Receipt.Status}
	case StatusDead:
		list, e = in.OnDead, onDead
		s["dead_reason"] = string(d.Reason)
		code := in.lastCode()
		if d.Failure != nil {
			code = d.Failure.Code
		}
		s["last_error"] = map[string]any{"code": code}
	default:
		return nil, nil
	}
	refs, trace := newResolver(s), d.Trace
	if trace.Parent == "" {
		trace = in.Trace
	}
	followUps := make([]FollowUp, 0, len(list))
	for n, f := range list {
		if e == onDone || wanted(f, d.Reason) {
			followUps = append(followUps, newFollowUp(f, e, refs, in.followUpID(e.word, n), rules).continuing(trace))
		}
	}
	update := in.update(refs, d, rules)
	if update != nil && len(update.Problems) > 0 && d.Reason == ReasonInvalid {
		update = nil // the failure lists them already, and its code is what the intent is looked for by
	}
	return followUps, update
}

func newFollowUp(f map[string]any, e ending, refs resolver, id ID, rules Rules) FollowUp {
	up := FollowUp{ID: id}
	up.Document = checkFollowUp(newReader(f, "", &up.Problems), e, refs, id, rules, 1)
	if up.Document == nil { // kept as it stands
		up.Document = maps.Clone(f)
		for _, field := range notCopied(e) {
			delete(up.Document, field)
		}
	}
	if n, ok := wholeNumber(f["delay_seconds"]); ok && n >= 0 && n <= maxDelaySecs {
		up.Delay = time.Duration(n) * time.Second
	}
	up.Document["_id"], up.Document["status"] = id.String(), string(StatusPending)
	up.DedupKey, _ = up.Document["dedup_key"].(string)
	return up
}

// continuing returns the follow-up with the trace that it continues, unless it brings one of its own.
func (up FollowUp) continuing(t Trace) FollowUp {
	if _, own := up.Document["trace"]; own || t.Parent == "" {
		return up
	}
	doc := map[string]any{"traceparent": t.Parent}
	if t.State != "" {
		doc["tracestate"] = t.State
	}
	up.Document["trace"] = doc
	return up
}
