package migrations

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// ordered is a JSON object that keeps its members' order.
type ordered []member

type member struct {
	name  string
	value any
}

// MarshalJSON writes the members in their order.
func (o ordered) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, m := range o {
		if i > 0 {
			b = append(b, ',')
		}
		name, err := json.Marshal(m.name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(m.value)
		if err != nil {
			return nil, err
		}
		b = append(append(append(b, name...), ':'), value...)
	}
	return append(b, '}'), nil
}

// translator turns rules into JSON Schema. What is used often becomes a definition.
type translator struct {
	definitions ordered
	level       int // of follow-ups
}

// extended holds the forms of BSON types that JSON does not have, as relaxed Extended JSON writes them; it is only read.
var extended = map[string]any{
	"date": ordered{{"title", "Date"}, {"type", "object"}, {"required", []string{"$date"}}, {"additionalProperties", false},
		{"properties", ordered{{"$date", ordered{{"anyOf", []any{
			ordered{{"type", "string"}, {"format", "date-time"}},
			ordered{{"type", "object"}, {"required", []string{"$numberLong"}}, {"additionalProperties", false},
				{"properties", ordered{{"$numberLong", ordered{{"type", "string"}, {"pattern", "^-?[0-9]+$"}}}}}},
		}}}}}}},
	"objectId": ordered{{"title", "ObjectId"}, {"type", "object"}, {"required", []string{"$oid"}}, {"additionalProperties", false},
		{"properties", ordered{{"$oid", ordered{{"type", "string"}, {"pattern", "^[0-9a-fA-F]{24}$"}}}}}},
	"binData": ordered{{"title", "UUID"}, {"type", "object"}, {"anyOf", []any{
		ordered{{"required", []string{"$uuid"}}, {"additionalProperties", false}, {"properties", ordered{{"$uuid",
			ordered{{"type", "string"}, {"format", "uuid"}}}}}},
		ordered{{"required", []string{"$binary"}}, {"additionalProperties", false}, {"properties", ordered{{"$binary",
			ordered{{"type", "object"}, {"required", []string{"base64", "subType"}}, {"additionalProperties", false},
				{"properties", ordered{{"base64", ordered{{"type", "string"}, {"pattern", "^[A-Za-z0-9+/]{22}==$"}}}, {"subType", ordered{{"const", "04"}}}}}}}}}},
	}}},
}

// payload makes a definition of a payload's rule, because each level of follow-ups repeats it.
func (t *translator) payload(r rule) ordered {
	title, _ := lookup(r, "title").(string)
	name := strings.TrimPrefix(title, payloadTitle) + "_payload"
	if t.level > 0 { // where references are allowed
		name = "follow_up_" + name
	}
	if !t.defined(name) {
		t.definitions = append(t.definitions, member{name, nil})
		at := len(t.definitions) - 1
		body := t.keywords(r) // adds definitions, so the place is looked up after it
		t.definitions[at].value = body
	}
	return ordered{{"$ref", "#/$defs/" + name}}
}

// schema translates one rule.
func (t *translator) schema(r rule) ordered {
	if title, _ := lookup(r, "title").(string); strings.HasPrefix(title, payloadTitle) {
		return t.payload(r)
	}
	return t.keywords(r)
}

// keywords translates one rule, keyword by keyword.
func (t *translator) keywords(r rule) ordered {
	out := ordered{}
	integer := lookup(r, "multipleOf") != nil // only integers have it; JSON Schema has a type for them
	var named ordered                         // fields that the rule names by pattern
	for _, e := range r {
		switch e.Key {
		case "bsonType":
			out = append(out, t.types(e.Value, integer)...)
		case "multipleOf":
			if e.Value != int32(1) {
				out = append(out, member{e.Key, e.Value})
			}
		case "pattern":
			out = append(out, member{e.Key, strings.ReplaceAll(e.Value.(string), eos, "$")})
		case "not", "items":
			out = append(out, member{e.Key, t.schema(e.Value.(rule))})
		case "allOf", "anyOf":
			list := []any{}
			for _, sub := range e.Value.(bson.A) {
				list = append(list, t.schema(sub.(rule)))
			}
			out = append(out, member{e.Key, list})
		case "properties":
			out = append(out, member{e.Key, t.fields(e.Value.(bson.D))})
		case "patternProperties":
			patterns := slices.Clone(e.Value.(bson.D))
			if followUps, ok := lookup(patterns, v1FollowUpsPattern).(rule); ok {
				ref := t.followUps(followUps)
				named = ordered{{"on_done", ref}, {"on_dead", ref}}
				patterns = slices.DeleteFunc(patterns, func(p bson.E) bool { return p.Key == v1FollowUpsPattern })
			}
			translated := t.fields(patterns)
			for i := range translated {
				translated[i].name = strings.ReplaceAll(translated[i].name, eos, "$")
			}
			out = append(out, member{e.Key, translated})
		case "additionalProperties":
			if sub, ok := e.Value.(rule); ok {
				out = append(out, member{e.Key, t.schema(sub)})
				continue
			}
			out = append(out, member{e.Key, e.Value})
		default: // title, description, required, enum and the limits are the same in both dialects
			out = append(out, member{e.Key, e.Value})
		}
	}
	for i := range out {
		if out[i].name == "properties" {
			out[i].value = append(out[i].value.(ordered), named...)
		}
	}
	return out
}

func (t *translator) fields(d bson.D) ordered {
	out := ordered{}
	for _, f := range d {
		out = append(out, member{f.Key, t.schema(f.Value.(rule))})
	}
	return out
}

// followUps makes a definition of each level, because the two fields of a level share it.
func (t *translator) followUps(r rule) ordered {
	t.level++
	name := fmt.Sprintf("follow_ups_%d", t.level)
	t.definitions = append(t.definitions, member{name, nil})
	at := len(t.definitions) - 1
	body := t.schema(r)
	t.level--
	t.definitions[at].value = body
	return ordered{{"$ref", "#/$defs/" + name}}
}

func (t *translator) defined(name string) bool {
	return slices.ContainsFunc(t.definitions, func(d member) bool { return d.name == name })
}

// types translates BSON types. Those that JSON does not have become references to their Extended JSON form; undefined
// and the like, which occur only in what is refused, have no form at all.
func (t *translator) types(v any, integer bool) ordered {
	list, ok := v.(bson.A)
	if !ok {
		list = bson.A{v}
	}
	var plain, refs []any
	for _, name := range list {
		simple := ""
		switch name {
		case "string", "object", "array", "null":
			simple = name.(string)
		case "bool":
			simple = "boolean"
		case "int", "long", "double":
			simple = "number"
			if integer {
				simple = "integer"
			}
		default:
			if form, ok := extended[name.(string)]; ok {
				refs = append(refs, t.reference(name.(string), form))
			}
			continue
		}
		if len(plain) == 0 || plain[len(plain)-1] != simple {
			plain = append(plain, simple)
		}
	}
	switch {
	case len(refs) == 0 && len(plain) == 1:
		return ordered{{"type", plain[0]}}
	case len(refs) == 0:
		return ordered{{"type", plain}}
	case len(plain) == 1:
		refs = append(refs, ordered{{"type", plain[0]}})
	case len(plain) > 1:
		refs = append(refs, ordered{{"type", plain}})
	}
	if len(refs) == 1 {
		return refs[0].(ordered)
	}
	return ordered{{"anyOf", refs}}
}

func (t *translator) reference(name string, form any) ordered {
	if !t.defined(name) {
		t.definitions = append(t.definitions, member{name, form})
	}
	return ordered{{"$ref", "#/$defs/" + name}}
}
