package outbox

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Problem is one way in which a document breaks the contract. It names the field, never its value.
type Problem struct {
	Path string
	Text string
}

// String returns the problem as one phrase.
func (p Problem) String() string { return p.Path + " " + p.Text }

// maxProblems bounds what a hostile document can make of last_error.
const maxProblems = 20

// later stands for a value that a reference will have only once the parent is settled: it is accepted as any type.
type later struct{}

// Unsupported stands for a BSON value that the contract has no use for (Decimal128, a regular expression, …).
type Unsupported struct {
	Type string
	// Value is the store's own form of the value, so that it can be written back as it was. It may be nil.
	Value any
}

// presence says whether a field must be there.
type presence bool

const (
	required presence = true
	optional presence = false
)

// reader reads the fields of one document, and collects what is wrong with them.
type reader struct {
	doc      map[string]any
	path     string   // with a final dot, or empty
	seen     []string // the fields of doc that were asked for
	exact    bool     // a null is a value of the wrong type, not an absent field
	problems *[]Problem
}

func newReader(doc map[string]any, path string, problems *[]Problem) *reader {
	return &reader{doc: doc, path: path, seen: make([]string, 0, len(doc)), problems: problems}
}

// below returns a reader of a document that stands in a field.
func (r *reader) below(doc map[string]any, field string) *reader {
	inner := newReader(doc, r.path+field+".", r.problems)
	inner.exact = r.exact
	return inner
}

func (r *reader) problem(field, text string) {
	if len(*r.problems) < maxProblems {
		*r.problems = append(*r.problems, Problem{named(r.path + field), text})
	}
}

// named shows a path. A step is replaced if it is no plain name, or a number of more than three digits. A producer
// may have used an address or a phone number as the name of a field, and no log may show those.
func named(path string) string {
	steps := strings.Split(path, ".")
	for i, step := range steps {
		if !plainName(step) {
			steps[i] = "?"
		}
	}
	return printable(strings.Join(steps, "."))
}

// plainName reports whether a step of a path is made like a name of the contract.
func plainName(step string) bool {
	return step != "" && len(step) <= 40 && only(step, letters+digits+"_-$") && !(len(step) > 3 && only(step, digits))
}

// printable keeps a hostile field name from breaking or flooding a log.
func printable(s string) string {
	const most = 80
	cut := len(s) > most
	if cut {
		s = s[:most]
	}
	s = strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) || c == utf8.RuneError {
			return '?'
		}
		return c
	}, s)
	if cut {
		s += "…"
	}
	return s
}

// stands reports whether the document has the field, be it null.
func (r *reader) stands(field string) bool { _, ok := r.doc[field]; return ok }

// has reports whether the field has a value. Object mappers write null for a property without one, so that null is
// absence, unless the reader is exact.
func (r *reader) has(field string) bool {
	v, ok := r.doc[field]
	if ok && v == nil && !r.exact {
		r.saw(field)
		return false
	}
	return ok
}

// meaningless are fields that object mappers add by themselves. They say nothing here, and stop nobody.
var meaningless = [...]string{"__v", "_class", "createdAt", "updatedAt"}

// mapped skips what object mappers add.
func (r *reader) mapped() {
	for _, field := range meaningless {
		if r.stands(field) {
			r.saw(field)
		}
	}
}

// value returns a field's value and whether there is one to check.
func (r *reader) value(field string, p presence) (any, bool) {
	v, ok := r.doc[field]
	if ok {
		r.saw(field)
	}
	if v == nil && !r.exact {
		ok = false
	}
	if !ok && p == required {
		r.problem(field, "is required")
	}
	if _, unknown := v.(later); unknown {
		return nil, false
	}
	return v, ok
}

// saw notes that a field is one of the contract's.
func (r *reader) saw(field string) {
	if !slices.Contains(r.seen, field) {
		r.seen = append(r.seen, field)
	}
}

// rest reports fields that nobody asked for: a typing error must not turn into a default.
func (r *reader) rest() {
	if len(r.seen) == len(r.doc) {
		return
	}
	for _, field := range slices.Sorted(maps.Keys(r.doc)) {
		if !slices.Contains(r.seen, field) {
			r.problem(field, "is not a field of the contract")
		}
	}
}

// text reads a string that is not empty; most is its greatest length in characters, 0 for any.
func (r *reader) text(field string, p presence, most int) string {
	v, ok := r.value(field, p)
	if !ok {
		return ""
	}
	s, isString := v.(string)
	switch {
	case !isString:
		r.problem(field, "must be a string")
	case s == "":
		r.problem(field, "must not be empty")
	case most > 0 && utf8.RuneCountInString(s) > most:
		r.problem(field, fmt.Sprintf("must have at most %d characters", most))
	}
	return s
}

func (r *reader) pattern(field string, p presence, ok func(string) bool, want string) string {
	v, there := r.value(field, p)
	if !there {
		return ""
	}
	s, isString := v.(string)
	if !isString || !ok(s) {
		r.problem(field, "must be "+want)
	}
	return s
}

// integer reads an int32, int64, or a double without fraction.
func (r *reader) integer(field string, p presence, least, most int64) int64 {
	v, ok := r.value(field, p)
	if !ok {
		return 0
	}
	n, isInt := wholeNumber(v)
	if !isInt || n < least || n > most {
		r.problem(field, fmt.Sprintf("must be an integer from %d to %d", least, most))
		return 0
	}
	return n
}

func wholeNumber(v any) (int64, bool) {
	switch n := v.(type) {
	case int64:
		return n, true
	case float64:
		if n == math.Trunc(n) && math.Abs(n) < 1<<53 {
			return int64(n), true
		}
	}
	return 0, false
}

func (r *reader) date(field string, p presence) time.Time {
	v, ok := r.value(field, p)
	if !ok {
		return time.Time{}
	}
	t, isDate := v.(time.Time)
	if !isDate {
		r.problem(field, "must be a Date")
	}
	if isDate && t.IsZero() { // year 1 is a date like any other, and Go's zero time means that there is none
		t = t.Add(time.Nanosecond)
	}
	return t
}

func (r *reader) boolean(field string) bool {
	v, ok := r.value(field, optional)
	if !ok {
		return false
	}
	b, isBool := v.(bool)
	if !isBool {
		r.problem(field, "must be true or false")
	}
	return b
}

func (r *reader) document(field string, p presence) map[string]any {
	v, ok := r.value(field, p)
	if !ok {
		return nil
	}
	d, isDoc := asDocument(v)
	if !isDoc {
		r.problem(field, "must be a document")
		return nil
	}
	r.supported(field, v)
	return d
}

// supported reports values of types that have no meaning in an intent, however deep they stand.
func (r *reader) supported(field string, v any) {
	if isSupported(v) { // the usual case needs neither paths nor an order
		return
	}
	switch v := v.(type) {
	case Unsupported:
		r.problem(field, "has the type "+printable(v.Type)+", which the contract does not know")
	case Fields:
		for _, f := range v {
			if !isSupported(f.Value) {
				r.supported(named(field)+"."+f.Name, f.Value)
				return
			}
		}
	case map[string]any:
		// One problem a level is enough: a path is built for that one alone, so that huge names are not copied for
		// each value.
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if !isSupported(v[key]) {
				r.supported(named(field)+"."+key, v[key])
				return
			}
		}
	case []any:
		for i, item := range v {
			if !isSupported(item) {
				r.supported(named(field)+"."+itoa(i), item)
				return
			}
		}
	}
}

func isSupported(v any) bool {
	switch v := v.(type) {
	case Unsupported:
		return false
	case Fields:
		for _, f := range v {
			if !isSupported(f.Value) {
				return false
			}
		}
	case map[string]any:
		for _, item := range v {
			if !isSupported(item) {
				return false
			}
		}
	case []any:
		for _, item := range v {
			if !isSupported(item) {
				return false
			}
		}
	}
	return true
}

// sub reads a field that is a document with fields of its own.
func (r *reader) sub(field string) *reader {
	v, ok := r.value(field, optional)
	if !ok {
		return nil
	}
	d, isDoc := asDocument(v)
	if !isDoc {
		r.problem(field, "must be a document")
		return nil
	}
	return r.below(d, field)
}

// array reads a list; most is its greatest length, 0 for any.
func (r *reader) array(field string, most int) []any {
	v, ok := r.value(field, optional)
	if !ok {
		return nil
	}
	a, isArray := v.([]any)
	if !isArray {
		r.problem(field, "must be an array")
	}
	if most > 0 && len(a) > most {
		r.problem(field, fmt.Sprintf("must have at most %d entries", most))
		return a[:most]
	}
	return a
}

// list reads an array of documents.
func (r *reader) list(field string, most int) []*reader {
	var list []*reader
	for i, item := range r.array(field, most) {
		name := field + "." + itoa(i)
		if d, ok := asDocument(item); ok {
			list = append(list, r.below(d, name))
		} else {
			r.problem(name, "must be a document")
		}
	}
	return list
}

// strings reads an array of strings that fit.
func (r *reader) strings(field string, most int, fits func(string) bool, want string) []string {
	var list []string
	for i, item := range r.array(field, most) {
		s, ok := item.(string)
		if _, unknown := item.(later); !unknown && (!ok || !fits(s)) {
			r.problem(field+"."+itoa(i), "must be "+want)
		}
		list = append(list, s)
	}
	return list
}

// texts reads a document of strings. A limit of 0 is none. Names are measured in bytes, as the database's validator
// measures them, whose patterns for names know no characters.
func (r *reader) texts(field string, mostKeys, mostKey, mostValue int) map[string]string {
	s := r.sub(field)
	if s == nil {
		return nil
	}
	texts := make(map[string]string, len(s.doc))
	if mostKeys > 0 && len(s.doc) > mostKeys {
		r.problem(field, fmt.Sprintf("must have at most %d keys", mostKeys))
	}
	for _, key := range slices.Sorted(maps.Keys(s.doc)) {
		value, isString := s.doc[key].(string)
		_, unknown := s.doc[key].(later)
		absent := s.doc[key] == nil
		switch {
		case unknown:
		case !isString && !absent:
			s.problem(key, "must be a string")
		case mostKey > 0 && (key == "" || len(key) > mostKey):
			s.problem(key, fmt.Sprintf("must have a name of 1 to %d bytes", mostKey))
		case mostValue > 0 && utf8.RuneCountInString(value) > mostValue:
			s.problem(key, fmt.Sprintf("must have at most %d characters", mostValue))
		}
		if !absent {
			texts[key] = value
		}
	}
	return texts
}
