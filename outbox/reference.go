package outbox

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// scope is what references are resolved against: the document of the settled intent. During the check before the parent
// is sent, the fields that only settling can know are [later].
type scope map[string]any

// maxResolved bounds what references can make of one follow-up or write_back with all that is nested in it, in bytes:
// three levels of the largest document that MongoDB stores. Without it, a text that names another a million times would
// take the worker's memory.
const maxResolved = 3 * 16 << 20

// resolver replaces references.
type resolver struct {
	scope scope
	left  *int // of maxResolved
}

func newResolver(s scope) resolver { return resolver{s, new(maxResolved)} }

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
	default:
		return v, nil
	}
}

func (b *badReference) under(path string) *badReference {
	return &badReference{named(path) + "." + b.path, b.text}
}

// document resolves all fields. Of several bad references it tells the first in the order of their names, so that the
// same document always has the same problem.
func (r resolver) document(doc map[string]any) (map[string]any, *badReference) {
	resolved := make(map[string]any, len(doc))
	var first *badReference
	for key, value := range doc {
		v, bad := r.resolve(key, value)
		if bad != nil && (first == nil || bad.path < first.path) {
			first = bad
		}
		resolved[key] = v
	}
	return resolved, first
}

// text replaces ${…} in a string; $${ is a literal ${. A string that is one reference alone keeps its type. The second
// result says what is wrong, if anything.
func (r resolver) text(text string) (any, string) {
	if !strings.Contains(text, "${") {
		return text, ""
	}
	var out strings.Builder
	unknown := false
	write := func(s string) bool {
		out.WriteString(s)
		return r.spend(len(s))
	}
	for rest := text; ; {
		at := strings.Index(rest, "${")
		if at < 0 {
			if !write(rest) {
				return nil, tooLarge
			}
			break
		}
		if at > 0 && rest[at-1] == '$' {
			if !write(rest[:at-1]) || !write("${") {
				return nil, tooLarge
			}
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
		if len(rest) == len(text) && at == 0 && length == len(text)-1 {
			if !r.spendValue(value) {
				return nil, tooLarge
			}
			return value, ""
		}
		words, ok := asText(value)
		if !ok {
			return nil, "has " + shown(path) + " within a text, but that is no text, number, date or identity"
		}
		if _, l := value.(later); l {
			unknown = true
		}
		if !write(rest[:at]) || !write(words) {
			return nil, tooLarge
		}
		rest = rest[at+length+1:]
	}
	if unknown {
		return later{}, ""
	}
	return out.String(), ""
}

const tooLarge = "has references that make it larger than a document can be"

// spend takes bytes from what is left, and reports whether there were enough.
func (r resolver) spend(bytes int) bool {
	*r.left -= bytes
	return *r.left >= 0
}

// spendValue takes the size of a value, and at least something for each part of it, for each will be looked at again.
func (r resolver) spendValue(v any) bool {
	const part = 8
	switch v := v.(type) {
	case string:
		return r.spend(part + len(v))
	case []any:
		for _, item := range v {
			if !r.spendValue(item) {
				return false
			}
		}
	case map[string]any:
		for key, item := range v {
			if !r.spend(len(key)) || !r.spendValue(item) {
				return false
			}
		}
	}
	return r.spend(part)
}

// shown repeats a reference where it is made of names. Anything else between the braces is the producer's text, which no
// log may show.
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
