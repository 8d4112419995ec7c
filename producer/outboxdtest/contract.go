package outboxdtest

import (
	"bytes"
	"compress/gzip"
	_ "embed" // the rules
	"fmt"
	"io"
	"math"
	"sync"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// packed is the collection's validator as `outboxd schema --format bson` prints it, compressed.
//
//go:embed contract.json.gz
var packed []byte

// rules are the contract, ready to be asked.
type rules struct {
	schema          *schema
	id, few, noText Reason // of the rules that $jsonSchema cannot express
}

// contract unpacks the rules once.
var contract = sync.OnceValues(unpack)

// Contract returns the rules that this package has, as MongoDB's validator in relaxed Extended JSON.
func Contract() ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("unpacking the contract: %w", err)
	}
	return io.ReadAll(r)
}

func unpack() (*rules, error) {
	text, err := Contract()
	if err != nil {
		return nil, err
	}
	var doc bson.Raw
	if err := bson.UnmarshalExtJSON(text, false, &doc); err != nil {
		return nil, fmt.Errorf("reading the contract: %w", err)
	}
	c := &rules{}
	if c.schema, err = parse(doc.Lookup("$jsonSchema").Document()); err != nil {
		return nil, err
	}
	texts := func(path ...string) Reason {
		d, _ := doc.Lookup(path...).DocumentOK()
		title, _ := d.Lookup("title").StringValueOK()
		text, _ := d.Lookup("description").StringValueOK()
		return Reason{Rule: title, Text: text}
	}
	c.id = below(texts("$and", "0", "$or", "0", "$jsonSchema", "properties", "_id"), "_id")
	c.few = texts("$and", "1", "$or", "0", "$jsonSchema")
	c.noText = texts("$and", "2", "$or", "0", "$jsonSchema")
	return c, nil
}

// parse reads a rule. A keyword that this package does not know is an error: it would be a rule that nobody checks.
func parse(doc bson.Raw) (*schema, error) {
	s := &schema{MaxLength: -1, Minimum: math.Inf(-1), Maximum: math.Inf(1), MaxProperties: -1, MaxItems: -1}
	elements, err := doc.Elements()
	if err != nil {
		return nil, fmt.Errorf("reading the contract: %w", err)
	}
	for _, e := range elements {
		if err := s.keyword(e.Key(), e.Value()); err != nil {
			return nil, fmt.Errorf("reading the contract's %s: %w", e.Key(), err)
		}
	}
	return s, nil
}

func (s *schema) keyword(name string, v bson.RawValue) (err error) {
	switch name {
	case "title":
		s.Title = v.StringValue()
	case "description":
		s.Description = v.StringValue()
	case "bsonType":
		s.Type = texts(v)
	case "enum":
		s.Enum, err = v.Array().Values()
	case "pattern":
		s.Pattern, err = expression(v.StringValue())
	case "minLength":
		s.MinLength = v.AsInt64()
	case "maxLength":
		s.MaxLength = v.AsInt64()
	case "minimum":
		s.Minimum = v.AsFloat64()
	case "maximum":
		s.Maximum = v.AsFloat64()
	case "multipleOf":
		s.Multiple = v.AsFloat64()
	case "required":
		s.Required = texts(v)
	case "properties":
		return each(v, func(name string, rule *schema) error {
			s.Properties = append(s.Properties, field{name, rule})
			return nil
		})
	case "patternProperties":
		return each(v, func(name string, rule *schema) error {
			re, err := expression(name)
			s.Patterns = append(s.Patterns, pattern{re, rule})
			return err
		})
	case "additionalProperties":
		if allowed, ok := v.BooleanOK(); ok {
			s.Closed = !allowed
			return nil
		}
		s.Others, err = parse(v.Document())
	case "maxProperties":
		s.MaxProperties = v.AsInt64()
	case "items":
		s.Items, err = parse(v.Document())
	case "minItems":
		s.MinItems = v.AsInt64()
	case "maxItems":
		s.MaxItems = v.AsInt64()
	case "allOf":
		s.All, err = many(v)
	case "anyOf":
		s.Any, err = many(v)
	case "not":
		s.Not, err = parse(v.Document())
	default:
		return fmt.Errorf("this package does not know the keyword")
	}
	return err
}

func texts(v bson.RawValue) []string {
	if text, ok := v.StringValueOK(); ok {
		return []string{text}
	}
	values, _ := v.Array().Values()
	var list []string
	for _, item := range values {
		list = append(list, item.StringValue())
	}
	return list
}

func each(v bson.RawValue, do func(string, *schema) error) error {
	elements, err := v.Document().Elements()
	if err != nil {
		return err
	}
	for _, e := range elements {
		rule, err := parse(e.Value().Document())
		if err != nil {
			return err
		}
		if err := do(e.Key(), rule); err != nil {
			return err
		}
	}
	return nil
}

func many(v bson.RawValue) ([]*schema, error) {
	values, err := v.Array().Values()
	if err != nil {
		return nil, err
	}
	var list []*schema
	for _, item := range values {
		rule, err := parse(item.Document())
		if err != nil {
			return nil, err
		}
		list = append(list, rule)
	}
	return list, nil
}
