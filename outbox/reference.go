package outbox

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// scope is what references are resolved against: the document of the settled intent. During the check before the parent
// is sent, the fields that only settling can know are [later].
type scope map[string]any

// Bounds of what follow-ups and write_back resolve to, in bytes as MongoDB stores them (contract, "Follow-ups"). All
// of them are written in one transaction, whose commands have limits far above, and stand in the worker's memory
// meanwhile.
const (
	maxOne      = 4 << 20 // one document
	maxTogether = 8 << 20 // all of one intent
	// maxNested bounds the follow-ups of follow-ups that are tried out before the first parent is sent: sixteen of
	// sixteen of sixteen could be made of one large text.
	maxNested = 64 << 20
)

// What is wrong with that which passes a bound.
const (
	tooLarge = "resolves to more than 4 MiB, the most that one follow-up or write_back may have"
	tooMuch  = "and what stands before it resolve to more than 8 MiB, the most that all follow-ups and the write_back of one intent may have"
	tooDeep  = "and what stands before it resolve to more than 64 MiB with all nested follow-ups"
)

// room is how many bytes may still be resolved to. Each room may be part of a larger one, from which it takes as well.
type room struct {
	left   int
	wrong  string // what is wrong with that which passes it
	within *room
}

// spend takes bytes, and returns what is wrong if there were not enough, else "".
func (r *room) spend(bytes int) string {
	wrong := ""
	for ; r != nil; r = r.within {
		if r.left -= bytes; r.left < 0 && wrong == "" {
			wrong = r.wrong
		}
	}
	return wrong
}

// resolver replaces references.
type resolver struct {
	scope scope
	room  *room // for what is resolved
	all   *room // for that and whatever is nested in it
}

// newResolver returns a resolver for all follow-ups and the write_back of one intent.
func newResolver(s scope) resolver {
	all := &room{maxNested, tooDeep, nil}
	return resolver{s, &room{maxTogether, tooMuch, all}, all}
}

// in returns the resolver with another scope.
func (r resolver) in(s scope) resolver { r.scope = s; return r }

// one returns the resolver for one document.
func (r resolver) one() resolver { r.room = &room{maxOne, tooLarge, r.room}; return r }

// nested returns the resolver for all that belongs to one follow-up.
func (r resolver) nested() resolver { r.room = &room{maxTogether, tooMuch, r.all}; return r }

// badReference says what is wrong with a reference, and where in the resolved value it stands.
type badReference struct{ path, text string }

// resolve replaces the references in a value, however deep; path is where it stands.
func (r resolver) resolve(path string, v any) (any, *badReference) {
	switch v := v.(type) {
	case string:
		resolved, wrong := r.text(v)
		if wrong != "" {
			return nil, &badReference{path, wrong}
		}
		return resolved, nil
	case []any:
		if wrong := r.room.spend(sizeOfEmpty + len(v)*sizeOfIndex); wrong != "" {
			return nil, &badReference{path, wrong}
		}
		list := make([]any, len(v))
		for i, item := range v {
			resolved, bad := r.resolve(itoa(i), item)
			if bad != nil {
				return nil, bad.under(path)
			}
			list[i] = resolved
		}
		return list, nil
	case map[string]any:
		resolved, bad := r.document(v)
		if bad != nil {
			return nil, bad.under(path)
		}
		return resolved, nil
	case Fields:
		resolved, bad := r.fields(v)
		if bad != nil {
			return nil, bad.under(path)
		}
		return resolved, nil
	default:
		if wrong := r.room.take(v); wrong != "" {
			return nil, &badReference{path, wrong}
		}
		return v, nil
	}
}

func (b *badReference) under(path string) *badReference {
	return &badReference{named(path) + "." + b.path, b.text}
}

// document resolves all fields, in the order of their names, so that the same document always has the same problem.
func (r resolver) document(doc map[string]any) (map[string]any, *badReference) {
	resolved := make(map[string]any, len(doc))
	wrong := r.room.spend(sizeOfEmpty)
	for _, key := range slices.Sorted(maps.Keys(doc)) {
		if wrong = cmp.Or(wrong, r.room.spend(sizeOfName+len(key))); wrong != "" {
			return nil, &badReference{key, wrong}
		}
		v, bad := r.resolve(key, doc[key])
		if bad != nil {
			return nil, bad
		}
		resolved[key] = v
	}
	return resolved, nil
}

// fields resolves all fields in their own order.
func (r resolver) fields(doc Fields) (Fields, *badReference) {
	resolved := make(Fields, len(doc))
	wrong := r.room.spend(sizeOfEmpty)
	for i, f := range doc {
		if wrong = cmp.Or(wrong, r.room.spend(sizeOfName+len(f.Name))); wrong != "" {
			return nil, &badReference{f.Name, wrong}
		}
		v, bad := r.resolve(f.Name, f.Value)
		if bad != nil {
			return nil, bad
		}
		resolved[i] = Field{f.Name, v}
	}
	return resolved, nil
}

// text replaces ${…} in a string; $${ is a literal ${. A string that is one reference alone keeps its type. The second
// result says what is wrong, if anything.
func (r resolver) text(text string) (any, string) {
	if !strings.Contains(text, "${") {
		return text, r.room.take(text)
	}
	var out strings.Builder
	unknown := false
	wrong := ""
	write := func(s string) {
		if wrong == "" {
			wrong = r.room.spend(len(s))
		}
		if wrong == "" { // else it would take the memory that it must not have
			out.WriteString(s)
		}
	}
	for rest := text; wrong == ""; {
		at := strings.Index(rest, "${")
		if at < 0 {
			write(rest)
			break
		}
		if at > 0 && rest[at-1] == '$' {
			write(rest[:at-1])
			write("${")
			rest = rest[at+2:]
			continue
		}
		length := strings.IndexByte(rest[at:], '}')
		if length < 0 {
			return nil, "has a reference without an end; a literal ${ is written $${"
		}
		path := rest[at+2 : at+length]
		value, ok := r.scope.lookup(path)
		if !ok {
			return nil, "refers to " + shown(path) + ", which cannot exist; a literal ${ is written $${"
		}
		if length == len(text)-1 { // one reference alone
			return value, r.room.take(value)
		}
		words, ok := asText(value)
		if !ok {
			return nil, "has " + shown(path) + " within a text, but that is no text, number, date or identity"
		}
		write(rest[:at])
		if _, isLater := value.(later); isLater {
			unknown = true
			wrong = cmp.Or(wrong, r.room.spend(sizeOfLater))
		}
		write(words)
		rest = rest[at+length+1:]
	}
	wrong = cmp.Or(wrong, r.room.spend(sizeOfText))
	if unknown {
		return later{}, wrong
	}
	return out.String(), wrong
}

// What parts of a document take in BSON, in bytes (bsonspec.org).
const (
	sizeOfText  = 4 + 1          // a string without characters
	sizeOfEmpty = 5              // a document or an array without elements
	sizeOfName  = 2              // an element's type, and the zero after its name
	sizeOfIndex = sizeOfName + 7 // an array's element, of which there are fewer than ten million
	sizeOfLater = 5 + maxForeign // what only settling knows: an id, a code, a word of the provider
	sizeOfOther = 4 + 1 + 16     // any other value; a UUID is the longest
)

// take subtracts what a value takes in BSON at most, part by part, and stops when no room is left. So a value that
// holds another one many times costs no more time than there is room.
func (r *room) take(v any) (wrong string) {
	switch v := v.(type) {
	case string:
		return r.spend(sizeOfText + len(v))
	case []any:
		wrong = r.spend(sizeOfEmpty)
		for i := 0; i < len(v) && wrong == ""; i++ {
			wrong = cmp.Or(r.spend(sizeOfIndex), r.take(v[i]))
		}
		return wrong
	case map[string]any:
		wrong = r.spend(sizeOfEmpty)
		for key, item := range v {
			if wrong != "" {
				break
			}
			wrong = cmp.Or(r.spend(sizeOfName+len(key)), r.take(item))
		}
		return wrong
	case Fields:
		wrong = r.spend(sizeOfEmpty)
		for i := 0; i < len(v) && wrong == ""; i++ {
			wrong = cmp.Or(r.spend(sizeOfName+len(v[i].Name)), r.take(v[i].Value))
		}
		return wrong
	case later:
		return r.spend(sizeOfLater)
	default:
		return r.spend(sizeOfOther)
	}
}

// shown repeats a reference where it is made of names. Anything else between the braces is the producer's text, which
// no log may show.
func shown(path string) string {
	root, _, _ := strings.Cut(path, ".")
	known := slices.Contains([]string{"_id", "payload", "metadata", "result", "last_error", "dead_reason"}, root)
	for step := range strings.SplitSeq(path, ".") {
		known = known && plainName(step)
	}
	if !known {
		return "something"
	}
	return "${" + path + "}"
}

// lookup follows a path with dots from one of the roots that the contract allows.
func (s scope) lookup(path string) (any, bool) {
	steps := strings.Split(path, ".")
	switch steps[0] {
	case "_id", "dead_reason":
		if len(steps) != 1 {
			return nil, false
		}
	case "payload", "metadata", "result":
		if len(steps) < 2 {
			return nil, false
		}
	case "last_error":
		if len(steps) != 2 || steps[1] != "code" {
			return nil, false
		}
	default:
		return nil, false
	}
	var at any = map[string]any(s)
	for _, step := range steps {
		switch container := at.(type) {
		case map[string]any:
			next, ok := container[step]
			if !ok {
				return nil, false
			}
			at = next
		case Fields:
			next, ok := container.field(step)
			if !ok {
				return nil, false
			}
			at = next
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(container) {
				return nil, false
			}
			at = container[i]
		default:
			return nil, false
		}
	}
	return at, true
}

// asText writes a value into the middle of a text.
func asText(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case ID:
		return v.String(), true
	case int64:
		return strconv.FormatInt(v, 10), true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	case bool:
		return strconv.FormatBool(v), true
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano), true
	case later:
		return "", true
	default:
		return "", false
	}
}
