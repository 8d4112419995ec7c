package outbox

import (
	"maps"
	"slices"
	"strings"
)

// Update is a write_back with its references resolved.
type Update struct {
	Collection string
	ID         any
	Set        map[string]any
	Problems   []Problem // if any: the update cannot be made
}

// maxSteps is how deep a path may lead; MongoDB stores no document that is deeper ("MongoDB Limits": 100 levels).
const maxSteps = 100

func parseWriteBack(w *reader, rules Rules) *WriteBack {
	wb := &WriteBack{Collection: w.text("collection", required, 0)}
	if wb.Collection != "" && !rules.AnyWriteBack && !slices.Contains(rules.WriteBack, wb.Collection) {
		w.problem("collection", "is not among the collections that the worker's configuration allows (write_back.collections)")
	}
	if id, ok := w.value("id", required); ok {
		wb.ID = id
		w.identity("id", id)
	}
	wb.Done, wb.Dead, wb.Ambiguous = w.assignments("done"), w.assignments("dead"), w.assignments("ambiguous")
	w.rest()
	return wb
}

// identity reports what cannot be the _id of a business document. An operator in it would update whatever it matches.
func (r *reader) identity(field string, v any) {
	switch v := v.(type) {
	case nil, []any, Unsupported:
		r.problem(field, "must be the _id of a document: no null, no array, nothing that the contract does not know")
	case map[string]any, Fields:
		doc, _ := asDocument(v)
		for key := range doc {
			if strings.HasPrefix(key, "$") {
				r.problem(field, "must be the _id of a document: no operator")
				return
			}
		}
		r.supported(field, v)
	}
}

// assignments reads what is to be $set. What the server would refuse must be found here: it must not undo the outcome
// of the intent when that is settled.
func (r *reader) assignments(field string) map[string]any {
	set := r.document(field, optional)
	for _, path := range slices.Sorted(maps.Keys(set)) {
		steps := strings.Split(path, ".")
		bad := steps[0] == "_id" || len(steps) > maxSteps || slices.ContainsFunc(steps, func(step string) bool { return step == "" || strings.HasPrefix(step, "$") })
		for n := 1; n < len(steps) && !bad; n++ { // the server sets either a document or a field in it
			_, bad = set[strings.Join(steps[:n], ".")]
		}
		if bad {
			r.problem(field, "must name fields to set: no operator, no _id, no empty name, no field within another one")
			break
		}
	}
	return set
}

// check reports references that cannot be resolved. An id whose value is known by now must be one.
func (wb *WriteBack) check(w *reader, done, dead resolver) {
	wb.resolve(w, done, "done", wb.Done)
	wb.resolve(w, dead, "dead", wb.Dead)
	wb.resolve(w, dead, "ambiguous", wb.Ambiguous)
}

// resolve returns the id and what is to be set, and reports what is wrong with them.
func (wb *WriteBack) resolve(w *reader, refs resolver, field string, set map[string]any) (id any, resolved map[string]any) {
	if len(set) == 0 {
		return nil, nil
	}
	refs = refs.one()
	id, bad := refs.resolve("id", wb.ID)
	if bad != nil {
		w.problem(bad.path, bad.text)
		return nil, nil
	}
	if _, wasReference := wb.ID.(string); wasReference {
		w.identity("id", id)
	}
	resolved, bad = refs.document(set)
	if bad != nil {
		w.problem(bad.under(field).path, bad.text)
		return nil, nil
	}
	return id, resolved
}

// update returns the write_back of an intent that is settled by the decision, nil if there is nothing to set.
func (in *Intent) update(refs resolver, d Decision, rules Rules) *Update {
	doc, _ := in.Document["write_back"].(map[string]any)
	if in.WriteBack == nil || doc == nil {
		return nil
	}
	field, set := "done", in.WriteBack.Done
	switch {
	case d.Status == StatusDead && d.Reason == ReasonAmbiguous && in.WriteBack.Ambiguous != nil:
		field, set = "ambiguous", in.WriteBack.Ambiguous
	case d.Status == StatusDead:
		field, set = "dead", in.WriteBack.Dead
	}
	if len(set) == 0 {
		return nil
	}
	u := &Update{Collection: in.WriteBack.Collection}
	w := newReader(doc, "write_back.", &u.Problems)
	parseWriteBack(w, rules) // a malformed intent is settled too
	u.ID, u.Set = in.WriteBack.resolve(w, refs, field, set)
	return u
}
