package outbox

import "slices"

// workerFields are the fields that only workers, and the commands that answer for a person, write.
var workerFields = slices.DeleteFunc(slices.Clone(notInFollowUp), func(field string) bool {
	return field == "_id" || field == "status" || field == "due_at"
})

// ParseInsert reads a document as [Parse] does, and checks it as a producer's insert: it is pending, and has no field
// that only a worker writes.
func ParseInsert(doc map[string]any, rules Rules) *Intent {
	in := Parse(doc, rules)
	r := &reader{doc: doc, problems: &in.Problems}
	if in.Status == StatusLeased || in.Status.Final() {
		r.problem("status", "must be pending: the others are the worker's")
	}
	for _, field := range workerFields {
		if r.stands(field) {
			r.problem(field, "is written by the worker; leave it out")
		}
	}
	return in
}

// SafePath shows a path in a document as problems show it: without names that may be an address or a number.
func SafePath(path string) string { return named(path) }
