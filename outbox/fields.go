package outbox

import (
	"encoding/json"
	"iter"
	"maps"
	"math"
	"slices"
	"time"
)

// Fields is a document of free form, such as the values of a template. Its fields keep the order in which the producer
// wrote them, because a template may list them and a database compares documents by it.
type Fields []Field

// Field is one field of [Fields].
type Field struct {
	Name  string
	Value any
}

// Map returns the values by name. Of several fields of one name it has the last.
func (f Fields) Map() map[string]any {
	doc := make(map[string]any, len(f))
	for _, field := range f {
		doc[field.Name] = field.Value
	}
	return doc
}

// field returns the value of the last field of a name.
func (f Fields) field(name string) (any, bool) {
	for _, field := range slices.Backward(f) {
		if field.Name == name {
			return field.Value, true
		}
	}
	return nil, false
}

// MarshalJSON writes the document as JSON in its own order. A date becomes text in the form of RFC 3339, and an
// identity its own text. It fails for what JSON does not have, such as NaN.
func (f Fields) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	for i, field := range f {
		if i > 0 {
			out = append(out, ',')
		}
		name, err := json.Marshal(field.Name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(jsonValue(field.Value))
		if err != nil {
			return nil, err
		}
		out = slices.Concat(out, name, []byte{':'}, value)
	}
	return append(out, '}'), nil
}

// jsonValue replaces what JSON has no type for.
func jsonValue(v any) any {
	switch v := v.(type) {
	case ID:
		return v.String()
	case time.Time: // its own form refuses years that a database can hold
		return v.UTC().Format(time.RFC3339Nano)
	case map[string]any:
		doc := make(map[string]any, len(v))
		for name, value := range v {
			doc[name] = jsonValue(value)
		}
		return doc
	case []any:
		list := make([]any, len(v))
		for i, value := range v {
			list[i] = jsonValue(value)
		}
		return list
	default:
		return v
	}
}

// JSON returns a document as [Parse] reads it, of either form, as JSON: see [Fields.MarshalJSON].
func JSON(doc any) ([]byte, error) { return json.Marshal(jsonValue(doc)) }

// asDocument returns the fields of a value that is a document, in either form.
func asDocument(v any) (map[string]any, bool) {
	switch v := v.(type) {
	case map[string]any:
		return v, true
	case Fields:
		return v.Map(), true
	default:
		return nil, false
	}
}

// maxTemplateLevels is how many documents and arrays of template_data may stand within each other, itself among them.
const maxTemplateLevels = 8

// template reads the values of a template, which have to become JSON.
func (r *reader) template(field string) any {
	v, ok := r.value(field, optional)
	if !ok {
		return nil
	}
	if _, isDoc := asDocument(v); !isDoc {
		r.problem(field, "must be a document")
		return nil
	}
	r.supported(field, v)
	if text := notJSON(v, 1); text != "" {
		r.problem(field, text)
	}
	return v
}

// notJSON says what in a value has no form in JSON. Types that the contract does not know are not its business.
func notJSON(v any, level int) string {
	each := func(items iter.Seq[any]) string {
		if level > maxTemplateLevels {
			return "must have at most eight documents and arrays within each other"
		}
		for item := range items {
			if text := notJSON(item, level+1); text != "" {
				return text
			}
		}
		return ""
	}
	switch v := v.(type) {
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return "must not hold NaN or Infinity, which JSON does not have"
		}
	case map[string]any:
		return each(maps.Values(v))
	case Fields:
		return each(func(yield func(any) bool) {
			for _, field := range v {
				if !yield(field.Value) {
					return
				}
			}
		})
	case []any:
		return each(slices.Values(v))
	}
	return ""
}
