package migrations

import (
	"fmt"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// rule is one schema in MongoDB's dialect of JSON Schema. Rules are ordered documents, so that a version's validator is
// the same sequence of bytes whenever it is built.
type rule = bson.D

// eos ends a pattern at the end of the string. PCRE lets a bare $ match before a last line feed as well; the dialects
// in which JSON Schema is used do not. Beside it, patterns keep to what all of them know: no look-around, and no
// repetition above 1000.
const eos = `$(?!\n)`

// wholeReference and anyReference recognise a follow-up's references. A string that is one reference alone may stand
// for a value of any type; one inside a longer string always gives a string.
const (
	wholeReference = `^\$\{[^{}]+\}` + eos
	anyReference   = `\$\{`
)

// vocabulary builds rules for values as a producer writes them. With references it builds those of a follow-up, where
// a string may stand for a value that is known only later. Each keyword of JSON Schema binds one type; minimum says
// nothing about strings. So both cases are one flat rule, and the server's explanation of a refusal stays flat as
// well.
type vocabulary struct {
	references bool
}

// described puts title and description in front, because the server repeats exactly these two to the writer.
func described(title, description string, rest ...bson.E) rule {
	return append(rule{{Key: "title", Value: title}, {Key: "description", Value: description}}, rest...)
}

// typed returns the rule for the given BSON types; a follow-up may hold a reference instead.
func (v vocabulary) typed(title, description string, types []string, rest ...bson.E) rule {
	if v.references {
		description += " A follow-up may hold one reference such as ${payload.x} instead."
		types = append(types[:len(types):len(types)], "string")
		rest = append(rest, bson.E{Key: "pattern", Value: wholeReference})
	}
	return described(title, description, append(rule{{Key: "bsonType", Value: names(types)}}, rest...)...)
}

// integer accepts int32, int64 and a double without fraction: JavaScript and PHP write the last.
func (v vocabulary) integer(title, description string, least, most int64) rule {
	text := fmt.Sprintf("%s must be an integer from %d to %d (int32, int64, or a double without fraction; no Decimal128, no string): %s",
		title, least, most, description)
	return v.typed(title, text, []string{"int", "long", "double"},
		bson.E{Key: "multipleOf", Value: int32(1)}, bson.E{Key: "minimum", Value: least}, bson.E{Key: "maximum", Value: most})
}

func (v vocabulary) date(title, description string) rule {
	return v.typed(title, title+" must be a BSON Date, not a string or a number: "+description, []string{"date"})
}

// text accepts strings of at least least and at most most characters; most 0 means no limit. In a follow-up the length
// of a string that holds a reference says nothing.
func (v vocabulary) text(title, description string, least, most int) rule {
	var limits rule
	if least > 0 {
		limits = append(limits, bson.E{Key: "minLength", Value: int32(least)})
	}
	if most > 0 {
		limits = append(limits, bson.E{Key: "maxLength", Value: int32(most)})
	}
	r := described(title, description, bson.E{Key: "bsonType", Value: "string"})
	if v.references && most > 0 {
		return append(r, orReference(limits))
	}
	return append(r, limits...)
}

func orReference(alternatives ...rule) bson.E {
	var list bson.A
	for _, a := range alternatives {
		list = append(list, a)
	}
	return bson.E{Key: "anyOf", Value: append(list, rule{{Key: "pattern", Value: anyReference}})}
}

// pattern accepts strings that match; in a follow-up also those that hold a reference.
func (v vocabulary) pattern(title, description, expression string) rule {
	return described(title, description, bson.E{Key: "bsonType", Value: "string"}, v.matches(expression))
}

// matches says nothing about a value that is no string.
func (v vocabulary) matches(expression string) bson.E {
	if v.references {
		expression = "(" + expression + ")|" + anyReference
	}
	return bson.E{Key: "pattern", Value: expression}
}

// oneOf accepts the given strings.
func (v vocabulary) oneOf(title, description string, values ...string) rule {
	text := fmt.Sprintf("%s must be one of %s: %s", title, strings.Join(values, ", "), description)
	if v.references {
		return v.pattern(title, text, "^("+strings.Join(values, "|")+")"+eos)
	}
	return described(title, text, bson.E{Key: "enum", Value: names(values)})
}

// array accepts at most most elements, each fitting items.
func (v vocabulary) array(title, description string, most int, items rule) rule {
	return v.typed(title, fmt.Sprintf("%s must be an array of at most %d elements: %s", title, most, description), []string{"array"},
		bson.E{Key: "maxItems", Value: int32(most)}, bson.E{Key: "items", Value: items})
}

// object accepts documents with exactly the given fields. The description lists them, for it is all that the server
// says about a missing or an unknown field.
func (v vocabulary) object(title, description string, required []string, fields bson.D, rest ...bson.E) rule {
	return v.typed(title, description+" "+fieldList(title, required, fields), []string{"object"},
		objectBody(required, fields, rest...)...)
}

// producers accepts documents as object does, with what object mappers make of them: a null is as good as an absent
// field where the field is optional.
func (v vocabulary) producers(title, description string, required []string, fields bson.D, rest ...bson.E) rule {
	return v.object(title, description, required, nullable(required, fields), rest...)
}

// nullable lets fields be null, except those that are required.
func nullable(required []string, fields bson.D) bson.D {
	out := slices.Clone(fields)
	for i, f := range out {
		if r, ok := f.Value.(rule); ok && !slices.Contains(required, f.Key) {
			out[i].Value = orNull(r)
		}
	}
	return out
}

// orNull accepts null beside what a rule accepts. The keywords of JSON Schema other than these bind no null.
func orNull(r rule) rule {
	if isRefused(r) {
		return r
	}
	out := slices.Clone(r)
	for i, e := range out {
		switch types := e.Value.(type) {
		case string:
			if e.Key == "bsonType" {
				out[i].Value = bson.A{types, "null"}
			}
		case bson.A:
			if e.Key == "bsonType" {
				out[i].Value = append(slices.Clone(types), "null")
			}
			if e.Key == "enum" {
				out[i].Value = append(slices.Clone(types), nil)
			}
		}
	}
	return out
}

func objectBody(required []string, fields bson.D, rest ...bson.E) rule {
	var body rule
	if len(required) > 0 {
		body = append(body, bson.E{Key: "required", Value: names(required)})
	}
	body = append(body, bson.E{Key: "properties", Value: fields}, bson.E{Key: "additionalProperties", Value: false})
	return append(body, rest...)
}

func fieldList(title string, required []string, fields bson.D, more ...string) string {
	all := make([]string, 0, len(fields))
	for _, f := range fields {
		if !isRefused(f.Value) {
			all = append(all, f.Key)
		}
	}
	all = append(all, more...)
	text := fmt.Sprintf("The fields of %s are %s; any other is refused, check the spelling.", title, strings.Join(all, ", "))
	if len(required) > 0 {
		text += " Required: " + strings.Join(required, ", ") + "."
	}
	return text
}

// refused accepts nothing; the description says what to do instead.
func refused(title, description string) rule {
	return described(title, description, bson.E{Key: "not", Value: rule{}})
}

func isRefused(v any) bool {
	r, ok := v.(rule)
	if !ok {
		return false
	}
	not, ok := lookup(r, "not").(rule)
	return ok && len(not) == 0
}

// strict is the vocabulary without references; it is only read.
var strict = vocabulary{}

// payloadTitle begins the title of each kind's payload rule.
const payloadTitle = "the payload of kind "

func lookup(d bson.D, key string) any {
	for _, e := range d {
		if e.Key == key {
			return e.Value
		}
	}
	return nil
}

// names returns an array of strings as BSON holds it.
func names(list []string) bson.A {
	out := make(bson.A, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}
