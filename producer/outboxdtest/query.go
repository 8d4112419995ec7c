package outboxdtest

import (
	"math"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// The rules that the validator has as query expressions, since JSON Schema cannot say them.
const (
	mostIDBytes    = 200
	mostRecipients = 1000 // with the one in to, so that fewer stand in cc and bcc
	templateLevels = 8
	followUpLevels = 3
	uuidBytes      = 16
	uuidSubtype    = 4
)

func (c *rules) queries(doc bson.Raw, f *finding) {
	if id, err := doc.LookupErr("_id"); err == nil && !validID(id) {
		f.add(c.id)
	}
	kind, _ := doc.Lookup("kind").StringValueOK()
	if kind == "email" && size(doc, "cc")+size(doc, "bcc") >= mostRecipients {
		for _, name := range []string{"cc", "bcc"} {
			if size(doc, name) > 0 {
				f.add(below(below(c.few, "payload"), name))
			}
		}
	}
	if badTemplate(doc, followUpLevels) { // the server names each place where it may be
		if data, err := doc.LookupErr("payload", "template_data"); err == nil && data.Type != bson.TypeNull {
			f.add(below(below(c.noText, "payload"), "template_data"))
		}
		for _, name := range []string{"on_done", "on_dead"} {
			if _, err := doc.LookupErr(name); err == nil {
				f.add(below(c.noText, name))
			}
		}
	}
}

// validID reports whether an _id is an ObjectId, a UUID, or a short text.
func validID(id bson.RawValue) bool {
	switch id.Type {
	case bson.TypeObjectID:
		return true
	case bson.TypeString:
		return len(id.StringValue()) <= mostIDBytes
	case bson.TypeBinary:
		subtype, data := id.Binary()
		return subtype == uuidSubtype && len(data) == uuidBytes
	default:
		return false
	}
}

func size(doc bson.Raw, name string) int {
	array, ok := doc.Lookup("payload", name).ArrayOK()
	if !ok {
		return 0
	}
	values, _ := array.Values()
	return len(values)
}

// badTemplate reports whether the template_data of an e-mail, or of one of its follow-ups so many levels down, holds
// what cannot be JSON.
func badTemplate(doc bson.Raw, levels int) bool {
	if kind, _ := doc.Lookup("kind").StringValueOK(); kind == "email" {
		if data, err := doc.LookupErr("payload", "template_data"); err == nil && badValue(data, templateLevels) {
			return true
		}
	}
	if levels == 0 {
		return false
	}
	for _, followUp := range followUps(doc) {
		if badTemplate(followUp, levels-1) {
			return true
		}
	}
	return false
}

func badValue(v bson.RawValue, levels int) bool {
	var within []bson.RawValue
	switch v.Type {
	case bson.TypeDouble:
		n := v.Double()
		return math.IsNaN(n) || math.IsInf(n, 0)
	case bson.TypeBinary:
		return !validID(v)
	case bson.TypeArray:
		within, _ = v.Array().Values()
	case bson.TypeEmbeddedDocument:
		within, _ = v.Document().Values()
	case bson.TypeString, bson.TypeInt32, bson.TypeInt64, bson.TypeBoolean, bson.TypeNull, bson.TypeDateTime, bson.TypeObjectID:
		return false
	default:
		return true
	}
	return levels == 0 || slices.ContainsFunc(within, func(v bson.RawValue) bool { return badValue(v, levels-1) })
}

// followUps returns the follow-ups of an intent or a follow-up.
func followUps(doc bson.Raw) []bson.Raw {
	var list []bson.Raw
	for _, name := range []string{"on_done", "on_dead"} {
		array, _ := doc.Lookup(name).ArrayOK()
		values, _ := array.Values()
		for _, v := range values {
			if followUp, ok := v.DocumentOK(); ok {
				list = append(list, followUp)
			}
		}
	}
	return list
}

// registered checks the kinds of an intent and its follow-ups. A list of the deployment's is part of the validator.
func registered(doc bson.Raw, kinds []string, f *finding) {
	if _, err := doc.LookupErr("first_attempt_at"); err == nil {
		return
	}
	if status, _ := doc.Lookup("status").StringValueOK(); status != "pending" {
		return
	}
	text := "kind must be one that is registered: " + strings.Join(kinds, ", ") +
		". To register another one, add it to `kinds` in the workers' file and run `outboxd migrate`."
	enum := &schema{Title: "kind", Description: text, MaxLength: -1, Minimum: math.Inf(-1), Maximum: math.Inf(1), MaxProperties: -1, MaxItems: -1}
	for _, kind := range kinds {
		t, data, _ := bson.MarshalValue(kind) // a string always can be
		enum.Enum = append(enum.Enum, bson.RawValue{Type: t, Value: data})
	}
	kindsOf(doc, enum, Reason{}, followUpLevels, f)
}

func kindsOf(doc bson.Raw, enum *schema, here Reason, levels int, f *finding) {
	if kind, err := doc.LookupErr("kind"); err == nil {
		enum.check(kind, below(here, "kind"), f)
	}
	if levels == 0 {
		return
	}
	for _, name := range []string{"on_done", "on_dead"} {
		array, _ := doc.Lookup(name).ArrayOK()
		values, _ := array.Values()
		for _, v := range values { // the server names the first that does not fit
			own := &finding{}
			if followUp, ok := v.DocumentOK(); ok {
				kindsOf(followUp, enum, below(here, name), levels-1, own)
			}
			if len(own.reasons) > 0 {
				for _, r := range own.reasons {
					f.add(r)
				}
				break
			}
		}
	}
}
