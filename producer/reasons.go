package producer

import (
	"errors"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// Reason is one rule of the contract that a refused document breaks. It never holds a value of the document.
type Reason struct {
	Path    string   // the field, such as payload.to or on_done.payload.amount; empty: the document as a whole
	Rule    string   // the rule's title
	Text    string   // the rule's description: what is wrong and what to write instead
	Missing []string // fields that are required and not there
	Unknown []string // fields that the contract does not have
}

// String returns the reason as one line.
func (r Reason) String() string {
	var b strings.Builder
	if r.Path != "" {
		b.WriteString(r.Path + ": ")
	}
	if len(r.Missing) > 0 {
		b.WriteString("missing " + strings.Join(r.Missing, ", ") + ". ")
	}
	if len(r.Unknown) > 0 {
		b.WriteString("unknown " + strings.Join(r.Unknown, ", ") + ". ")
	}
	return b.String() + r.Text
}

// codeRefused is MongoDB's code of a document that the validator refuses: DocumentValidationFailure.
const codeRefused = 121

// Reasons returns why the collection's validator refused a document: what error 121's errInfo says, without the
// document's values. It finds the refusal in any error of the driver that wraps one, of single writes, bulk writes and
// commands, inside transactions and outside. It returns nil if err is no refusal by a validator.
func Reasons(err error) []Reason {
	var reasons []Reason
	for _, info := range refusals(err) {
		digInfo(info, &reasons)
	}
	return reasons
}

func digInfo(errInfo bson.Raw, reasons *[]Reason) {
	if details, ok := errInfo.Lookup("details").DocumentOK(); ok {
		dig(details, Reason{}, reasons)
	}
}

// refusals returns the errInfo of each document that a validator refused.
func refusals(err error) []bson.Raw {
	var found []bson.Raw
	writes := func(list []mongo.WriteError) {
		for _, w := range list {
			if w.Code == codeRefused {
				found = append(found, w.Details)
			}
		}
	}
	if e, ok := errors.AsType[mongo.WriteException](err); ok {
		writes(e.WriteErrors)
	}
	if e, ok := errors.AsType[mongo.BulkWriteException](err); ok {
		for _, w := range e.WriteErrors {
			writes([]mongo.WriteError{w.WriteError})
		}
	}
	if e, ok := errors.AsType[mongo.ClientBulkWriteException](err); ok {
		for _, w := range e.WriteErrors {
			writes([]mongo.WriteError{w})
		}
	}
	if e, ok := errors.AsType[mongo.CommandError](err); ok && e.Code == codeRefused {
		if info, ok := e.Raw.Lookup("errInfo").DocumentOK(); ok {
			found = append(found, info)
		}
	}
	return found
}

// dig walks the server's explanation. A node names the rule that holds for what is below it; a node that has nothing
// below it is what was broken. outer is the nearest rule above.
func dig(node bson.Raw, outer Reason, reasons *[]Reason) {
	here := outer
	if title, ok := node.Lookup("title").StringValueOK(); ok {
		here.Rule = title
	}
	if text, ok := node.Lookup("description").StringValueOK(); ok {
		here.Text = text
	}
	if name, ok := node.Lookup("propertyName").StringValueOK(); ok {
		here.Path = strings.TrimPrefix(here.Path+"."+name, ".")
	}
	here.Missing, here.Unknown = stringsOf(node, "missingProperties"), stringsOf(node, "additionalProperties")

	var below []bson.Raw
	for _, field := range []string{"details", "schemaRulesNotSatisfied", "propertiesNotSatisfied", "schemasNotSatisfied", "clausesNotSatisfied"} {
		below = append(below, documents(node.Lookup(field))...)
	}
	switch operator, _ := node.Lookup("operatorName").StringValueOK(); operator {
	case "anyOf", "$or":
		// The alternatives that were not taken: a rule of their own is the reason, else that of the whole.
		var described []bson.Raw
		for _, b := range below {
			if hasDescription(b) {
				described = append(described, b)
			}
		}
		if below = described; len(below) == 0 && here.Text != "" {
			add(reasons, here)
			return
		}
	}
	if len(below) == 0 {
		if here.Text != "" {
			add(reasons, here)
		}
		return
	}
	for _, b := range below {
		dig(b, here, reasons)
	}
}

func add(reasons *[]Reason, r Reason) {
	for _, known := range *reasons {
		if known.Path == r.Path && known.Text == r.Text && slices.Equal(known.Missing, r.Missing) && slices.Equal(known.Unknown, r.Unknown) {
			return
		}
	}
	*reasons = append(*reasons, r)
}

func hasDescription(node bson.Raw) bool {
	if _, ok := node.Lookup("description").StringValueOK(); ok {
		return true
	}
	elements, err := node.Elements()
	if err != nil {
		return false
	}
	for _, e := range elements {
		if e.Key() == "specifiedAs" || e.Key() == "consideredValue" { // the document's own, not the rule's
			continue
		}
		if slices.ContainsFunc(documents(e.Value()), hasDescription) {
			return true
		}
	}
	return false
}

// documents returns the documents of an array, or a document as the only one.
func documents(v bson.RawValue) []bson.Raw {
	if d, ok := v.DocumentOK(); ok {
		return []bson.Raw{d}
	}
	var list []bson.Raw
	if array, ok := v.ArrayOK(); ok {
		values, err := array.Values()
		if err != nil {
			return nil
		}
		for _, e := range values {
			if d, ok := e.DocumentOK(); ok {
				list = append(list, d)
			}
		}
	}
	return list
}

func stringsOf(node bson.Raw, field string) []string {
	array, ok := node.Lookup(field).ArrayOK()
	if !ok {
		return nil
	}
	values, err := array.Values()
	if err != nil {
		return nil
	}
	var list []string
	for _, v := range values {
		if s, ok := v.StringValueOK(); ok {
			list = append(list, s)
		}
	}
	return list
}
