package outboxdtest

import (
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// value is a document as a value.
func value(doc bson.Raw) bson.RawValue {
	return bson.RawValue{Type: bson.TypeEmbeddedDocument, Value: doc}
}

// schema is a rule of $jsonSchema, with the keywords that the contract has.
type schema struct {
	Title, Description string
	Type               []string
	Enum               []bson.RawValue
	Pattern            *regexp.Regexp
	MinLength          int64
	MaxLength          int64 // -1: none
	Minimum, Maximum   float64
	Multiple           float64 // 0: of anything
	Required           []string
	Properties         []field
	Patterns           []pattern
	Others             *schema // of fields that neither names nor patterns cover; nil: anything
	Closed             bool    // there may be no such field
	MaxProperties      int64   // -1: none
	Items              *schema
	MinItems, MaxItems int64 // -1: none
	All, Any           []*schema
	Not                *schema
}

type field struct {
	name string
	rule *schema
}

type pattern struct {
	name *regexp.Regexp
	rule *schema
}

// check adds why a value breaks the rule. outer is what the nearest rule above says. Like the server it names each
// broken keyword, but of a list only the first element, and of alternatives those that have a text of their own.
func (s *schema) check(v bson.RawValue, outer Reason, f *finding) {
	here := outer
	here.Missing, here.Unknown = nil, nil
	if s.Title != "" {
		here.Rule = s.Title
	}
	if s.Description != "" {
		here.Text = s.Description
	}
	if !s.fits(v) {
		f.add(here)
	}
	s.object(v, here, f)
	s.list(v, here, f)
	for _, rule := range s.All {
		rule.check(v, here, f)
	}
	s.alternatives(v, here, f)
	if s.Not != nil && s.Not.valid(v) {
		f.add(here)
	}
}

// valid reports whether a value fits the rule.
func (s *schema) valid(v bson.RawValue) bool {
	f := &finding{}
	s.check(v, Reason{}, f)
	return len(f.reasons) == 0
}

// fits checks the keywords that look at the value alone.
func (s *schema) fits(v bson.RawValue) bool {
	if len(s.Type) > 0 && !slices.Contains(s.Type, typeName(v.Type)) {
		return false
	}
	if s.Enum != nil && !slices.ContainsFunc(s.Enum, v.Equal) {
		return false
	}
	if text, ok := v.StringValueOK(); ok {
		n := int64(utf8.RuneCountInString(text))
		return n >= s.MinLength && (s.MaxLength < 0 || n <= s.MaxLength) && (s.Pattern == nil || s.Pattern.MatchString(text))
	}
	if n, ok := number(v); ok {
		return n >= s.Minimum && n <= s.Maximum && (s.Multiple == 0 || math.Mod(n, s.Multiple) == 0)
	}
	return true
}

func (s *schema) alternatives(v bson.RawValue, here Reason, f *finding) {
	if s.Any == nil {
		return
	}
	described := &finding{}
	for _, rule := range s.Any {
		if rule.valid(v) {
			return
		}
		own := &finding{}
		rule.check(v, Reason{Path: here.Path}, own)
		for _, r := range own.reasons {
			if r.Text != "" {
				described.add(r)
			}
		}
	}
	if len(described.reasons) == 0 {
		f.add(here)
	}
	for _, r := range described.reasons {
		f.add(r)
	}
}

func (s *schema) object(v bson.RawValue, here Reason, f *finding) {
	doc, ok := v.DocumentOK()
	if !ok {
		return
	}
	elements, err := doc.Elements()
	if err != nil {
		return
	}
	var missing, unknown []string
	for _, name := range s.Required {
		if _, err := doc.LookupErr(name); err != nil {
			missing = append(missing, name)
		}
	}
	for _, e := range elements {
		name, known := e.Key(), false
		for _, p := range s.Properties {
			if p.name == name {
				known = true
				p.rule.check(e.Value(), below(here, name), f)
			}
		}
		for _, p := range s.Patterns {
			if p.name.MatchString(name) {
				known = true
				p.rule.check(e.Value(), below(here, name), f)
			}
		}
		switch {
		case known:
		case s.Closed:
			unknown = append(unknown, name)
		case s.Others != nil:
			s.Others.check(e.Value(), here, f) // the server does not say which it is
		}
	}
	if missing != nil {
		r := here
		r.Missing = missing
		f.add(r)
	}
	if unknown != nil {
		r := here
		r.Unknown = unknown
		f.add(r)
	}
	if s.MaxProperties >= 0 && int64(len(elements)) > s.MaxProperties {
		f.add(here)
	}
}

func (s *schema) list(v bson.RawValue, here Reason, f *finding) {
	array, ok := v.ArrayOK()
	if !ok {
		return
	}
	values, err := array.Values()
	if err != nil {
		return
	}
	if n := int64(len(values)); n < s.MinItems || s.MaxItems >= 0 && n > s.MaxItems {
		f.add(here)
	}
	if s.Items == nil {
		return
	}
	for _, item := range values {
		if !s.Items.valid(item) {
			s.Items.check(item, here, f)
			return
		}
	}
}

// number returns a numeric value. A Decimal128 may lose digits: no rule lets one in.
func number(v bson.RawValue) (float64, bool) {
	switch v.Type {
	case bson.TypeInt32, bson.TypeInt64, bson.TypeDouble:
		return v.AsFloat64(), true
	case bson.TypeDecimal128:
		n, err := strconv.ParseFloat(v.Decimal128().String(), 64)
		return n, err == nil
	default:
		return 0, false
	}
}

// typeName is the name that $jsonSchema has for a type.
func typeName(t bson.Type) string {
	switch t {
	case bson.TypeDouble:
		return "double"
	case bson.TypeString:
		return "string"
	case bson.TypeEmbeddedDocument:
		return "object"
	case bson.TypeArray:
		return "array"
	case bson.TypeBinary:
		return "binData"
	case bson.TypeUndefined:
		return "undefined"
	case bson.TypeObjectID:
		return "objectId"
	case bson.TypeBoolean:
		return "bool"
	case bson.TypeDateTime:
		return "date"
	case bson.TypeNull:
		return "null"
	case bson.TypeRegex:
		return "regex"
	case bson.TypeInt32:
		return "int"
	case bson.TypeInt64:
		return "long"
	case bson.TypeDecimal128:
		return "decimal"
	default:
		return t.String()
	}
}

// expression compiles a pattern of the contract. PCRE, which the server has, matches $ before a last newline as well;
// the contract forbids that by a look-ahead, which Go does not have.
func expression(text string) (*regexp.Regexp, error) {
	return regexp.Compile(strings.ReplaceAll(text, `$(?!\n)`, `\z`))
}
