package outbox

import (
	"fmt"
	"maps"
	"slices"
	"strings"
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

// Update is a write_back with its references resolved.
type Update struct {
	Collection string
	ID         any
	Set        map[string]any
	Problems   []Problem // if any: the update cannot be made
}

// worker-owned and derived fields that a follow-up must not bring along
var notInFollowUp = []string{"_id", "status", "due_at", "attempts", "lease", "first_attempt_at", "ambiguous_at", "generation",
	"progress", "last_error", "history", "result", "done_at", "dead_at", "cancelled_at", "dead_reason", "purge_at"}

// parseFollowUps checks follow-ups and write_back before the parent is sent, with what can be known by then.
func (in *Intent) parseFollowUps(r *reader, rules Rules) {
	check := func(field string, s scope) []map[string]any {
		var list []map[string]any
		for _, f := range r.list(field, maxFollowUps) {
			checkFollowUp(f, s, rules, 1, in.ID.String()+":done:15")
			list = append(list, f.doc)
		}
		return list
	}
	in.OnDone = check("on_done", in.before(StatusDone))
	in.OnDead = check("on_dead", in.before(StatusDead))
	if w := r.sub("write_back"); w != nil {
		in.WriteBack = parseWriteBack(w, rules)
		checkUpdate(w, in.WriteBack.Done, in.WriteBack.ID, in.before(StatusDone))
		checkUpdate(w, in.WriteBack.Dead, in.WriteBack.ID, in.before(StatusDead))
	}
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

// checkFollowUp reports what would make a follow-up invalid. Nested follow-ups refer to the follow-up, not to its parent.
// id is the longest that its own can become.
func checkFollowUp(f *reader, s scope, rules Rules, depth int, id string) {
	if depth > maxDepth {
		f.problem("on_done", "is more than three levels deep")
		return
	}
	if len(id) > MaxIDBytes {
		f.problem("_id", "of the follow-up would have more than 200 bytes; shorten the first intent's _id")
	}
	for _, field := range notInFollowUp {
		if f.has(field) {
			f.problem(field, "must not stand in a follow-up")
		}
	}
	f.integer("delay_seconds", optional, 0, maxDelaySecs)
	doc, err := s.instance(f.doc)
	if err != nil {
		f.problem("payload", err.Error())
		return
	}
	child := &Intent{Document: doc, ID: NewStringID(id)}
	doc["_id"], doc["status"], doc["due_at"] = child.ID.String(), string(StatusPending), time.Unix(0, 0)
	r := newReader(doc, f.path, f.problems)
	r.seen["_id"], r.seen["delay_seconds"] = true, true
	for _, field := range notInFollowUp {
		r.seen[field] = true // reported above, where it was not expected
	}
	child.Kind = r.text("kind", required, 0)
	child.Status = StatusPending
	child.parseEnvelope(r)
	child.checkNested(r, rules, depth)
	r.rest()
}

func (in *Intent) checkNested(r *reader, rules Rules, depth int) {
	for field, s := range map[string]scope{"on_done": in.before(StatusDone), "on_dead": in.before(StatusDead)} {
		for _, f := range r.list(field, maxFollowUps) {
			checkFollowUp(f, s, rules, depth+1, in.ID.String()+":done:15")
		}
	}
	if w := r.sub("write_back"); w != nil {
		wb := parseWriteBack(w, rules)
		checkUpdate(w, wb.Done, wb.ID, in.before(StatusDone))
		checkUpdate(w, wb.Dead, wb.ID, in.before(StatusDead))
	}
}

// instance copies a follow-up with its own references resolved; those of its follow-ups and write_back wait for their turn.
func (s scope) instance(f map[string]any) (map[string]any, error) {
	doc := make(map[string]any, len(f)+3)
	for key, value := range f {
		switch key {
		case "on_done", "on_dead", "write_back":
			doc[key] = value
		default:
			resolved, err := s.resolve(value)
			if err != nil {
				return nil, err
			}
			doc[key] = resolved
		}
	}
	return doc, nil
}

func parseWriteBack(w *reader, rules Rules) *WriteBack {
	wb := &WriteBack{Collection: w.text("collection", required, 0)}
	if wb.Collection != "" && !slices.Contains(rules.WriteBack, wb.Collection) {
		w.problem("collection", "is not among the collections that the worker's configuration allows (write_back.collections)")
	}
	wb.ID, _ = w.value("id", required)
	wb.Done = w.document("done", optional)
	wb.Dead = w.document("dead", optional)
	for name, set := range map[string]map[string]any{"done": wb.Done, "dead": wb.Dead} {
		for _, key := range slices.Sorted(maps.Keys(set)) {
			if key == "" || key == "_id" || strings.HasPrefix(key, "_id.") || strings.HasPrefix(key, "$") || strings.Contains(key, ".$") {
				w.problem(name, "must name fields to set: no operator, no _id")
			}
		}
	}
	w.rest()
	return wb
}

func checkUpdate(w *reader, set map[string]any, id any, s scope) {
	if _, err := s.resolve(id); err != nil {
		w.problem("id", err.Error())
	}
	if _, err := s.resolveDocument(set); err != nil {
		w.problem("done or dead", err.Error())
	}
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
		if d.Failure != nil {
			s["last_error"] = map[string]any{"code": d.Failure.Code}
		}
	default:
		return nil, nil
	}
	followUps := make([]FollowUp, 0, len(list))
	for n, f := range list {
		followUps = append(followUps, s.followUp(NewStringID(in.ID.String()+word+itoa(n)), f, rules))
	}
	return followUps, in.update(s, d.Status, rules)
}

func (s scope) followUp(id ID, f map[string]any, rules Rules) FollowUp {
	up := FollowUp{ID: id}
	if n, ok := wholeNumber(f["delay_seconds"]); ok {
		up.Delay = time.Duration(n) * time.Second
	}
	doc, err := s.instance(f)
	if err != nil {
		doc = maps.Clone(f)
		up.Problems = []Problem{{"follow-up", err.Error()}}
	}
	delete(doc, "delay_seconds")
	doc["_id"], doc["status"], doc["due_at"] = id.String(), string(StatusPending), time.Unix(0, 0)
	child := Parse(doc, rules)
	delete(doc, "due_at")
	up.Document, up.DedupKey = doc, child.DedupKey
	up.Problems = append(up.Problems, child.Problems...)
	return up
}

func (in *Intent) update(s scope, status Status, rules Rules) *Update {
	if in.WriteBack == nil {
		return nil
	}
	set := in.WriteBack.Done
	if status == StatusDead {
		set = in.WriteBack.Dead
	}
	if len(set) == 0 {
		return nil
	}
	u := &Update{Collection: in.WriteBack.Collection}
	if !slices.Contains(rules.WriteBack, u.Collection) {
		u.Problems = append(u.Problems, Problem{"write_back.collection", "is not allowed"})
	}
	var err error
	if u.ID, err = s.resolve(in.WriteBack.ID); err == nil {
		u.Set, err = s.resolveDocument(set)
	}
	if err != nil {
		u.Problems = append(u.Problems, Problem{"write_back", fmt.Sprint(err)})
	}
	return u
}
