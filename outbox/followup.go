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

// parseFollowUps checks follow-ups and write_back before the parent is sent, with what can be known by then.
func (in *Intent) parseFollowUps(r *reader, rules Rules) {
	if !r.has("on_done") && !r.has("on_dead") && !r.has("write_back") {
		return
	}
	done, dead := in.before(StatusDone), in.before(StatusDead)
	for _, f := range r.list("on_done", maxFollowUps) {
		in.OnDone = append(in.OnDone, f.doc)
		checkFollowUp(f, newResolver(done), in.followUpID(":done:", len(in.OnDone)-1), rules, 1)
	}
	for _, f := range r.list("on_dead", maxFollowUps) {
		in.OnDead = append(in.OnDead, f.doc)
		checkFollowUp(f, newResolver(dead), in.followUpID(":dead:", len(in.OnDead)-1), rules, 1)
	}
	if w := r.sub("write_back"); w != nil {
		in.WriteBack = parseWriteBack(w, rules)
		in.WriteBack.check(w, newResolver(done), newResolver(dead))
	}
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
func checkFollowUp(f *reader, refs resolver, id ID, rules Rules, depth int) map[string]any {
	if len(id.String()) > MaxIDBytes {
		f.problem("_id", "of the follow-up would have more than 200 bytes; shorten the first intent's _id")
	}
	for _, field := range notInFollowUp {
		if f.has(field) {
			f.problem(field, "must not stand in a follow-up")
		}
	}
	f.integer("delay_seconds", optional, 0, maxDelaySecs)
	doc, bad := refs.instance(f.doc)
	if bad != nil {
		f.problem(bad.path, bad.text)
		return nil
	}
	child := &Intent{Document: doc, ID: id}
	r := newReader(doc, f.path, f.problems)
	child.Kind = r.text("kind", required, 0)
	child.parseEnvelope(r)
	child.checkNested(r, refs.left, rules, depth)
	r.rest()
	return doc
}

func (in *Intent) checkNested(r *reader, left *int, rules Rules, depth int) {
	if !r.has("on_done") && !r.has("on_dead") && !r.has("write_back") {
		return
	}
	done, dead := resolver{in.before(StatusDone), left}, resolver{in.before(StatusDead), left}
	nested := func(field, word string, refs resolver) {
		list := r.list(field, maxFollowUps)
		if len(list) > 0 && depth == maxDepth {
			r.problem(field, "is more than three levels deep")
			return
		}
		for n, f := range list {
			checkFollowUp(f, refs, in.followUpID(word, n), rules, depth+1)
		}
	}
	nested("on_done", ":done:", done)
	nested("on_dead", ":dead:", dead)
	if w := r.sub("write_back"); w != nil {
		parseWriteBack(w, rules).check(w, done, dead)
	}
}

// instance copies a follow-up with its own references resolved; those of its follow-ups and write_back wait for their
// turn. Fields that do not belong to a follow-up stay behind.
func (r resolver) instance(f map[string]any) (map[string]any, *badReference) {
	own := maps.Clone(f)
	for _, field := range slices.Concat(notInFollowUp, []string{"on_done", "on_dead", "write_back", "delay_seconds"}) {
		delete(own, field)
	}
	doc, bad := r.document(own)
	if bad != nil {
		return nil, bad
	}
	for _, field := range []string{"on_done", "on_dead", "write_back"} {
		if v, ok := f[field]; ok {
			doc[field] = v
		}
	}
	return doc, nil
}

// Consequences returns what settling the intent by the decision brings along: its follow-ups, and the update of its
// business document, nil if there is none. A malformed intent has only those that can be read.
func (in *Intent) Consequences(d Decision, rules Rules) ([]FollowUp, *Update) {
	s, list, word := in.scope(), in.OnDone, ":done:"
	switch d.Status {
	case StatusDone:
		s["result"] = map[string]any{"provider": d.Receipt.Provider, "id": d.Receipt.ID, "status": d.Receipt.Status}
	case StatusDead:
		list, word = in.OnDead, ":dead:"
		s["dead_reason"] = string(d.Reason)
		code := in.lastCode()
		if d.Failure != nil {
			code = d.Failure.Code
		}
		s["last_error"] = map[string]any{"code": code}
	default:
		return nil, nil
	}
	followUps := make([]FollowUp, 0, len(list))
	for n, f := range list {
		followUps = append(followUps, newFollowUp(f, newResolver(s), in.followUpID(word, n), rules))
	}
	update := in.update(newResolver(s), d.Status, rules)
	if update != nil && len(update.Problems) > 0 && d.Reason == ReasonInvalid {
		update = nil // the failure lists them already, and its code is what the intent is looked for by
	}
	return followUps, update
}

func newFollowUp(f map[string]any, refs resolver, id ID, rules Rules) FollowUp {
	up := FollowUp{ID: id}
	up.Document = checkFollowUp(newReader(f, "", &up.Problems), refs, id, rules, 1)
	if up.Document == nil { // kept as it stands
		up.Document = maps.Clone(f)
		for _, field := range slices.Concat(notInFollowUp, []string{"delay_seconds"}) {
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
