package migrations

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
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

func (o ordered) has(name string) bool {
	return slices.ContainsFunc(o, func(m member) bool { return m.name == name })
}

// instant is a date as relaxed Extended JSON writes it. The keyword format is not for this: validators refuse it
// without an option.
const instant = `^-?[0-9]{4,6}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?(Z|[+-][0-9]{2}:?[0-9]{2})$`

// extended holds the forms of BSON types that JSON does not have, as relaxed Extended JSON writes them; it is only
// read.
var extended = map[string]any{
	"date": one("Date", "$date", ordered{{"anyOf", []any{
		ordered{{"type", "string"}, {"pattern", instant}},
		one("", "$numberLong", ordered{{"type", "string"}, {"pattern", "^-?[0-9]+$"}}),
	}}}),
	"objectId": one("ObjectId", "$oid", ordered{{"type", "string"}, {"pattern", "^[0-9a-fA-F]{24}$"}}),
	"binData": ordered{{"title", "UUID"}, {"anyOf", []any{
		one("", "$uuid", ordered{{"type", "string"}, {"pattern", "^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$"}}),
		one("", "$binary", ordered{{"type", "object"}, {"required", []string{"base64", "subType"}}, {"additionalProperties", false},
			{"properties", ordered{{"base64", ordered{{"type", "string"}, {"pattern", "^[A-Za-z0-9+/]{22}==$"}}}, {"subType", ordered{{"const", "04"}}}}}}),
	}}},
}

// one is an object of a single field.
func one(title, field string, value ordered) ordered {
	o := ordered{{"type", "object"}, {"required", []string{field}}, {"additionalProperties", false}, {"properties", ordered{{field, value}}}}
	if title != "" {
		o = append(ordered{{"title", title}}, o...)
	}
	return o
}

// translator turns rules into JSON Schema. What is used often becomes a definition.
type translator struct {
	definitions ordered
	level       int  // of follow-ups
	others      bool // kinds that the contract does not know are allowed
}

// schema translates one rule. known are the JSON types that rules around it give to the same value.
func (t *translator) schema(r rule, known []string) ordered {
	if title, _ := lookup(r, "title").(string); strings.HasPrefix(title, payloadTitle) {
		return t.payload(r)
	}
	if list := variants(r, t.others); list != nil {
		return t.alternatives(r, list)
	}
	return t.keywords(r, known)
}

// payload makes a definition of a payload's rule, because each level of follow-ups repeats it.
func (t *translator) payload(r rule) ordered {
	title, _ := lookup(r, "title").(string)
	return t.define(t.prefix("")+strings.TrimPrefix(title, payloadTitle)+"_payload", func() any { return t.keywords(r, nil) })
}

// alternatives makes a definition of each kind of intent or follow-up. They exclude each other by their kind.
func (t *translator) alternatives(r rule, list []variant) ordered {
	var refs []any
	for _, v := range list {
		name := "intent"
		if t.level > 0 {
			name = fmt.Sprintf("follow_up_%d", t.level)
		}
		if v.kind == "" {
			v.kind = "other"
		}
		refs = append(refs, t.define(v.kind+"_"+name, func() any { return t.keywords(v.rule, nil) }))
	}
	return ordered{{"title", lookup(r, "title")}, {"description", lookup(r, "description")}, {"oneOf", refs}}
}

// define makes a definition, once, and returns the reference to it.
func (t *translator) define(name string, body func() any) ordered {
	if !t.definitions.has(name) {
		t.definitions = append(t.definitions, member{name, nil})
		at := len(t.definitions) - 1
		value := body() // adds definitions, so the place is looked up after it
		t.definitions[at].value = value
	}
	return ordered{{"$ref", "#/definitions/" + name}}
}

// prefix tells definitions apart whose values may hold references.
func (t *translator) prefix(name string) string {
	if t.level > 0 {
		return "follow_up_" + name
	}
	return name
}

// keywords translates one rule, keyword by keyword.
func (t *translator) keywords(r rule, known []string) ordered {
	simple, refs := t.types(lookup(r, "bsonType"), lookup(r, "multipleOf") != nil) // only integers have that
	out := ordered{}
	for _, e := range r {
		if e.Key == "title" || e.Key == "description" {
			out = append(out, member{e.Key, e.Value})
		}
	}
	body := t.body(r, append(slices.Clone(known), simple...))
	values := slices.DeleteFunc(slices.Clone(simple), func(s string) bool { return s == "null" })
	nullable := len(values) < len(simple)
	switch {
	case len(values)+len(refs) == 0 && !nullable: // of any type, or of a type that is known already
		return append(out, conditional(body, known)...)
	case len(refs) == 0 && len(values) <= 1:
		var kind any = simple
		if len(simple) == 1 {
			kind = simple[0]
		}
		return append(append(out, member{"type", kind}), body...)
	case len(refs) == 1 && len(simple) == 0:
		return append(out, refs[0].(ordered)...)
	}
	// Several types: each keyword goes to the type that it binds.
	alternatives := refs
	for _, s := range simple {
		alternative := ordered{{"type", s}}
		for _, m := range body {
			if slices.Contains(binds(m.name), s) {
				alternative = append(alternative, m)
			}
		}
		alternatives = append(alternatives, alternative)
	}
	return append(out, member{"anyOf", alternatives})
}

// binds returns the JSON types that a keyword says something about. Rules over several keywords are those of documents.
func binds(keyword string) []string {
	switch keyword {
	case "minLength", "maxLength", "pattern":
		return []string{"string"}
	case "minimum", "maximum", "multipleOf":
		return []string{"integer", "number"}
	case "minItems", "maxItems", "items":
		return []string{"array"}
	case "enum", "const":
		return []string{"string", "integer", "number", "boolean"}
	default:
		return []string{"object"}
	}
}

// conditional binds keywords to their type where nothing else says what the type is.
func conditional(body ordered, known []string) ordered {
	for _, m := range body {
		types := binds(m.name)
		switch m.name {
		case "enum", "const", "not", "anyOf", "allOf":
			continue
		}
		if !slices.ContainsFunc(types, func(s string) bool { return slices.Contains(known, s) }) {
			return ordered{{"if", ordered{{"type", types[0]}}}, {"then", append(ordered{{"type", types[0]}}, body...)}}
		}
	}
	return body
}

// body translates the keywords but for types, titles and descriptions.
func (t *translator) body(r rule, known []string) ordered {
	out := ordered{}
	var named ordered // fields that the rule names by pattern
	for _, e := range r {
		switch e.Key {
		case "title", "description", "bsonType":
		case "multipleOf": // of one is what makes an integer
			if e.Value != int32(1) {
				out = append(out, member{e.Key, e.Value})
			}
		case "pattern":
			out = append(out, member{e.Key, strings.ReplaceAll(e.Value.(string), eos, "$")})
		case "not":
			out = append(out, member{e.Key, t.schema(e.Value.(rule), known)})
		case "items":
			out = append(out, member{e.Key, t.schema(e.Value.(rule), nil)})
		case "allOf", "anyOf":
			list := []any{}
			for _, sub := range e.Value.(bson.A) {
				list = append(list, t.schema(sub.(rule), known))
			}
			if len(list) > 0 {
				out = append(out, member{e.Key, list})
			}
		case "properties":
			out = append(out, member{e.Key, t.fields(e.Value.(bson.D))})
		case "patternProperties":
			patterns := slices.Clone(e.Value.(bson.D))
			if followUps, ok := lookup(patterns, v1FollowUpsPattern).(rule); ok {
				ref := t.followUps(followUps)
				named = ordered{{"on_done", ref}, {"on_dead", ref}}
				patterns = slices.DeleteFunc(patterns, func(p bson.E) bool { return p.Key == v1FollowUpsPattern })
			}
			translated := ordered{}
			for _, p := range patterns {
				translated = append(translated, member{strings.ReplaceAll(p.Key, eos, "$"), t.schema(p.Value.(rule), nil)})
			}
			out = append(out, member{e.Key, translated})
		case "additionalProperties":
			if sub, ok := e.Value.(rule); ok {
				out = append(out, member{e.Key, t.schema(sub, nil)})
				continue
			}
			out = append(out, member{e.Key, e.Value})
		default: // required, enum and the limits are the same in both dialects
			out = append(out, member{e.Key, e.Value})
		}
	}
	for i := range out {
		if out[i].name == "properties" {
			out[i].value = append(out[i].value.(ordered), named...)
		}
	}
	return out.apart()
}

// apart puts named fields beside the patterns that they match too, because validators take the two together for a
// mistake.
func (o ordered) apart() ordered {
	properties := slices.IndexFunc(o, func(m member) bool { return m.name == "properties" })
	patterns := slices.IndexFunc(o, func(m member) bool { return m.name == "patternProperties" })
	if properties < 0 || patterns < 0 {
		return o
	}
	for _, p := range o[patterns].value.(ordered) {
		for _, f := range o[properties].value.(ordered) {
			if regexp.MustCompile(p.name).MatchString(f.name) {
				o[properties] = member{"allOf", []any{ordered{o[properties]}}}
				return o
			}
		}
	}
	return o
}

// long is the size of a field's schema from which on it becomes a definition where several share it.
const long = 200

func (t *translator) fields(d bson.D) ordered {
	out := ordered{}
	for _, f := range d {
		body := t.schema(f.Value.(rule), nil)
		if text, err := json.Marshal(body); err == nil && len(text) > long {
			body = t.share(f.Key, body, text)
		}
		out = append(out, member{f.Key, body})
	}
	return out
}

// share makes a definition of a field's schema, or finds the one that is the same.
func (t *translator) share(field string, body ordered, text []byte) ordered {
	name := t.prefix(strings.TrimPrefix(field, "_"))
	for n := 2; ; n++ {
		if !t.definitions.has(name) {
			return t.define(name, func() any { return body })
		}
		for _, d := range t.definitions {
			if have, err := json.Marshal(d.value); d.name == name && err == nil && bytes.Equal(have, text) {
				return ordered{{"$ref", "#/definitions/" + name}}
			}
		}
		name = fmt.Sprintf("%s_%d", t.prefix(strings.TrimPrefix(field, "_")), n)
	}
}

// followUps makes a definition of each level, because the two fields of a level share it.
func (t *translator) followUps(r rule) ordered {
	t.level++
	defer func() { t.level-- }()
	return t.define(fmt.Sprintf("follow_ups_%d", t.level), func() any { return t.schema(r, nil) })
}

// types translates BSON types: into those of JSON, and references to the Extended JSON form of the others. undefined
// and the like, which occur only in what is refused, have no form at all.
func (t *translator) types(v any, integer bool) (simple []string, refs []any) {
	list, ok := v.(bson.A)
	if !ok && v != nil {
		list = bson.A{v}
	}
	for _, name := range list {
		plain := ""
		switch name {
		case "string", "object", "array", "null":
			plain = name.(string)
		case "bool":
			plain = "boolean"
		case "int", "long", "double":
			plain = "number"
			if integer {
				plain = "integer"
			}
		default:
			if form, ok := extended[name.(string)]; ok {
				refs = append(refs, t.define(name.(string), func() any { return form }))
			}
			continue
		}
		if !slices.Contains(simple, plain) {
			simple = append(simple, plain)
		}
	}
	return simple, refs
}
