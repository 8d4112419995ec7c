package outbox

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
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
	path     string // with a final dot, or empty
	seen     map[string]bool
	problems *[]Problem
}

func newReader(doc map[string]any, path string, problems *[]Problem) *reader {
	return &reader{doc: doc, path: path, seen: make(map[string]bool, len(doc)), problems: problems}
}

func (r *reader) problem(field, text string) {
	if len(*r.problems) < maxProblems {
		*r.problems = append(*r.problems, Problem{printable(r.path + field), text})
	}
}

// printable keeps a hostile field name from breaking or flooding a log.
func printable(s string) string {
	const most = 80
	s = strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c == utf8.RuneError {
			return '?'
		}
		return c
	}, s)
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// has reports whether the field is there. Null counts as a value of the wrong type, not as absence.
func (r *reader) has(field string) bool { _, ok := r.doc[field]; return ok }

// value returns a field's value and whether there is one to check.
func (r *reader) value(field string, p presence) (any, bool) {
	r.seen[field] = true
	v, ok := r.doc[field]
	if !ok && p == required {
		r.problem(field, "is required")
	}
	if _, unknown := v.(later); unknown {
		return nil, false
	}
	return v, ok
}

// rest reports fields that nobody asked for: a typing error must not turn into a default.
func (r *reader) rest() {
	for _, field := range slices.Sorted(maps.Keys(r.doc)) {
		if !r.seen[field] {
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
	d, isDoc := v.(map[string]any)
	if !isDoc {
		r.problem(field, "must be a document")
		return nil
	}
	r.supported(field, d)
	return d
}

// supported reports values of types that have no meaning in an intent, however deep they stand.
func (r *reader) supported(path string, v any) {
	switch v := v.(type) {
	case Unsupported:
		r.problem(path, "has the type "+v.Type+", which the contract does not know")
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			r.supported(path+"."+key, v[key])
		}
	case []any:
		for i, item := range v {
			r.supported(path+"."+itoa(i), item)
		}
	}
}

// sub reads a field that is a document with fields of its own.
func (r *reader) sub(field string) *reader {
	v, ok := r.value(field, optional)
	if !ok {
		return nil
	}
	d, isDoc := v.(map[string]any)
	if !isDoc {
		r.problem(field, "must be a document")
		return nil
	}
	return newReader(d, r.path+field+".", r.problems)
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
	}
	return a
}

// list reads an array of documents.
func (r *reader) list(field string, most int) []*reader {
	var list []*reader
	for i, item := range r.array(field, most) {
		name := field + "." + itoa(i)
		if d, ok := item.(map[string]any); ok {
			list = append(list, newReader(d, r.path+name+".", r.problems))
		} else {
			r.problem(name, "must be a document")
		}
	}
	return list
}

func (r *reader) strings(field string, most int) []string {
	var list []string
	for i, item := range r.array(field, most) {
		s, ok := item.(string)
		if _, unknown := item.(later); !unknown && (!ok || s == "") {
			r.problem(field+"."+itoa(i), "must be a string that is not empty")
		}
		list = append(list, s)
	}
	return list
}

// texts reads a document of strings. A limit of 0 is none.
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
		switch _, unknown := s.doc[key].(later); {
		case unknown:
		case !isString:
			s.problem(key, "must be a string")
		case mostKey > 0 && utf8.RuneCountInString(key) > mostKey:
			s.problem(key, fmt.Sprintf("must have a name of at most %d characters", mostKey))
		case mostValue > 0 && utf8.RuneCountInString(value) > mostValue:
			s.problem(key, fmt.Sprintf("must have at most %d characters", mostValue))
		}
		texts[key] = value
	}
	return texts
}

const wantAddress = "an e-mail address, or {email, name}"

// address reads an address: a string, or {email, name}.
func (r *reader) address(field string, p presence) Address {
	v, ok := r.value(field, p)
	if !ok {
		return Address{}
	}
	return r.addressOf(field, v)
}

func (r *reader) addressOf(field string, v any) Address {
	switch v := v.(type) {
	case later:
		return Address{}
	case string:
		if !isEmail(v) {
			r.problem(field, "must be "+wantAddress)
		}
		return Address{Email: v}
	case map[string]any:
		s := newReader(v, r.path+field+".", r.problems)
		a := Address{Email: s.pattern("email", required, isEmail, "an e-mail address"), Name: s.text("name", optional, 0)}
		s.rest()
		return a
	default:
		r.problem(field, "must be "+wantAddress)
		return Address{}
	}
}

// addresses reads one address or an array of them.
func (r *reader) addresses(field string) []Address {
	v, ok := r.value(field, optional)
	if !ok {
		return nil
	}
	list, isArray := v.([]any)
	if !isArray {
		return []Address{r.addressOf(field, v)}
	}
	addresses := make([]Address, len(list))
	for i, item := range list {
		addresses[i] = r.addressOf(field+"."+itoa(i), item)
	}
	return addresses
}
