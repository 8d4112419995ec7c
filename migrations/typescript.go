package migrations

import (
	"fmt"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// typescriptHead begins the types. An ObjectId and a UUID are classes of the driver.
const typescriptHead = `// The intent contract as types for MongoDB's driver for Node.js, made by outboxd.
// Types know no patterns, no limits and no rules over several fields: the collection's validator does.
import type { ObjectId, UUID } from "mongodb";

/** In a follow-up: one reference such as ${payload.x}, whose value has the right type. */
export type Reference = ` + "`\\${${string}}`" + `;
`

// TypeScript returns the contract as declarations in TypeScript, for a producer with MongoDB's driver. Each kind is a
// type of its own, and Intent is one of them. With a kind it is that one alone.
func TypeScript(o SchemaOptions) ([]byte, error) {
	root, err := latest().contract.insert(o)
	if err != nil {
		return nil, err
	}
	w := &typescript{others: o.OtherKinds}
	w.b.WriteString(typescriptHead)
	list := variants(root, o.OtherKinds)
	if list == nil {
		list = []variant{{o.Kind, root}}
	}
	w.union("Intent", "What a producer inserts into the outbox.", list)
	for _, d := range w.declarations {
		w.b.WriteString(d.text)
	}
	return []byte(w.b.String()), nil
}

// typescript writes declarations.
type typescript struct {
	b            strings.Builder
	others       bool
	level        int // of follow-ups
	declarations []declaration
}

type declaration struct{ name, text string }

// union declares a type of alternatives, one for each kind.
func (w *typescript) union(name, doc string, list []variant) {
	var names []string
	for _, v := range list {
		kind := v.kind
		if kind == "" {
			kind = "other"
		}
		names = append(names, w.declare(pascal(kind)+name, v.rule))
	}
	w.add(name, fmt.Sprintf("\n/** %s */\nexport type %s = %s;\n", doc, name, strings.Join(names, " | ")))
}

func (w *typescript) add(name, text string) {
	w.declarations = append(w.declarations, declaration{name, text})
}

// declare declares an object's rule as an interface, once, and returns its name.
func (w *typescript) declare(name string, r rule) string {
	if slices.ContainsFunc(w.declarations, func(d declaration) bool { return d.name == name }) {
		return name
	}
	w.add(name, "")
	at := len(w.declarations) - 1
	text := fmt.Sprintf("\nexport interface %s {\n%s}\n", name, w.fields(r)) // declares more, so the place is kept
	w.declarations[at].text = text
	return name
}

func (w *typescript) fields(r rule) string {
	var b strings.Builder
	required, _ := lookup(r, "required").(bson.A)
	for _, f := range properties(r) {
		field := f.Value.(rule)
		if isRefused(field) {
			continue
		}
		text, _ := lookup(field, "description").(string)
		title, _ := lookup(field, "title").(string)
		if text != "" && !strings.HasPrefix(title, payloadTitle) {
			fmt.Fprintf(&b, "  /** %s */\n", text)
		}
		mark := "?"
		if slices.Contains(required, any(f.Key)) {
			mark = ""
		}
		fmt.Fprintf(&b, "  %s%s: %s;\n", f.Key, mark, w.of(f.Key, field))
	}
	if followUps, ok := lookup(followUpsOf(r), v1FollowUpsPattern).(rule); ok {
		w.level++
		if items, ok := lookup(followUps, "items").(rule); ok {
			name := fmt.Sprintf("FollowUp%d", w.level)
			if !slices.ContainsFunc(w.declarations, func(d declaration) bool { return d.name == name }) {
				w.union(name, "An intent that is inserted when the one around it has ended.", variants(items, w.others))
			}
			fmt.Fprintf(&b, "  on_done?: %s[] | null;\n  on_dead?: %s[] | null;\n", name, name)
		}
		w.level--
	}
	return b.String()
}

// of returns the type of a field. An object with fields of its own becomes an interface, named after where it is
// first seen.
func (w *typescript) of(field string, r rule) string {
	if values, ok := lookup(r, "enum").(bson.A); ok {
		var list []string
		for _, v := range values {
			if v == nil {
				list = append(list, "null")
				continue
			}
			list = append(list, fmt.Sprintf("%q", v))
		}
		return strings.Join(list, " | ")
	}
	types, ok := lookup(r, "bsonType").(bson.A)
	if one, isOne := lookup(r, "bsonType").(string); isOne {
		types, ok = bson.A{one}, true
	}
	if !ok {
		return "unknown"
	}
	pattern, _ := lookup(r, "pattern").(string)
	var list []string
	for _, t := range types {
		text := ""
		switch t {
		case "string":
			text = "string"
			if pattern == wholeReference {
				text = "Reference"
			}
		case "int", "long", "double":
			text = "number"
		case "bool":
			text = "boolean"
		case "date":
			text = "Date"
		case "objectId":
			text = "ObjectId"
		case "binData":
			text = "UUID"
		case "null":
			text = "null"
		case "array":
			items, _ := lookup(r, "items").(rule)
			text = "(" + w.of(field+"_item", items) + ")[]"
		case "object":
			text = w.object(field, r)
		}
		if text != "" && !slices.Contains(list, text) {
			list = append(list, text)
		}
	}
	return strings.Join(list, " | ")
}

func (w *typescript) object(field string, r rule) string {
	title, _ := lookup(r, "title").(string)
	switch kind, isPayload := strings.CutPrefix(title, payloadTitle); {
	case isPayload && w.level > 0:
		return w.declare("FollowUp"+pascal(kind)+"Payload", r)
	case isPayload:
		return w.declare(pascal(kind)+"Payload", r)
	case strings.Contains(title, "metadata"):
		return "{ [key: string]: string | null }"
	case lookup(r, "additionalProperties") == false && len(properties(r)) > 0:
		name := pascal(field)
		if w.level > 0 {
			name = "FollowUp" + name
		}
		return w.declare(w.named(name, r), r)
	default:
		return "{ [key: string]: unknown }"
	}
}

// named returns the name of an object that several fields share, else that of the field.
func (w *typescript) named(name string, r rule) string {
	title, _ := lookup(r, "title").(string)
	switch {
	case lookup(properties(r), "email") != nil:
		name = "Address"
	case title == "an attachment":
		name = "Attachment"
	default:
		return name
	}
	if w.level > 0 {
		name = "FollowUp" + name
	}
	return name
}

// pascal makes a type's name of a field's.
func pascal(name string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(name, "_") {
		if part != "" {
			b.WriteString(strings.ToUpper(part[:1]) + part[1:])
		}
	}
	return b.String()
}
