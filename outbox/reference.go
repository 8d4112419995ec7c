package outbox

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// scope is what references are resolved against: the document of the settled intent. During the check before the parent
// is sent, the fields that only settling can know are [later].
type scope map[string]any

// resolve replaces the references in a value, however deep. An error names the reference that cannot exist.
func (s scope) resolve(v any) (any, error) {
	switch v := v.(type) {
	case string:
		return s.resolveString(v)
	case []any:
		list := make([]any, len(v))
		for i, item := range v {
			resolved, err := s.resolve(item)
			if err != nil {
				return nil, err
			}
			list[i] = resolved
		}
		return list, nil
	case map[string]any:
		return s.resolveDocument(v)
	default:
		return v, nil
	}
}

func (s scope) resolveDocument(doc map[string]any) (map[string]any, error) {
	resolved := make(map[string]any, len(doc))
	for key, value := range doc {
		r, err := s.resolve(value)
		if err != nil {
			return nil, err
		}
		resolved[key] = r
	}
	return resolved, nil
}

// resolveString replaces ${…} in a string; $${ is a literal ${. A string that is one reference alone keeps its type.
func (s scope) resolveString(text string) (any, error) {
	var out strings.Builder
	unknown := false
	for rest := text; ; {
		at := strings.Index(rest, "${")
		if at < 0 {
			out.WriteString(rest)
			break
		}
		if at > 0 && rest[at-1] == '$' {
			out.WriteString(rest[:at-1] + "${")
			rest = rest[at+2:]
			continue
		}
		length := strings.IndexByte(rest[at:], '}')
		if length < 0 {
			return nil, fmt.Errorf("has a reference without an end")
		}
		path := rest[at+2 : at+length]
		value, ok := s.lookup(path)
		if !ok {
			return nil, fmt.Errorf("refers to ${%s}, which cannot exist", printable(path))
		}
		if rest == text && at == 0 && length == len(text)-1 {
			return value, nil
		}
		words, ok := asText(value)
		if !ok {
			return nil, fmt.Errorf("has ${%s} within a text, but that is no text or number", printable(path))
		}
		if _, l := value.(later); l {
			unknown = true
		}
		out.WriteString(rest[:at] + words)
		rest = rest[at+length+1:]
	}
	if unknown {
		return later{}, nil
	}
	return out.String(), nil
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
