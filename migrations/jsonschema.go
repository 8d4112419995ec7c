package migrations

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// SchemaOptions choose what a schema for producers describes.
type SchemaOptions struct {
	Kind       string // this kind alone; empty: all that the contract knows, as alternatives that differ by their kind
	OtherKinds bool   // with kinds that the contract does not know, whose payload may be any document
}

// JSONSchema returns the contract as JSON Schema of what a producer writes: an intent in status pending, in relaxed
// Extended JSON, without the worker's fields. It is derived from the data of the validator. An unknown kind is an error
// that lists the known ones.
//
// The schema is of draft 7. Validators and code generators take it without options: it has no keyword that they would
// refuse or warn about. Each kind is a type of its own.
//
// Five rules of the validator have no counterpart in JSON Schema and stand in descriptions only:
//
//   - 200 bytes (not characters) of a string _id;
//   - 1000 recipients of an e-mail over three fields;
//   - the depth and types of template_data;
//   - instants that are written as text but are none;
//   - Decimal128, which relaxed Extended JSON writes as a document.
func JSONSchema(o SchemaOptions) ([]byte, error) {
	root, err := latest().contract.insert(o)
	if err != nil {
		return nil, err
	}
	t := translator{definitions: ordered{}, others: o.OtherKinds}
	body := t.schema(root, nil)
	out := append(ordered{{"$schema", "http://json-schema.org/draft-07/schema#"}}, body...)
	out = append(out, member{"definitions", t.definitions})
	return json.MarshalIndent(out, "", "  ")
}

// BSONSchema returns the contract in MongoDB's dialect, as the collection's validator has it, in relaxed Extended JSON.
func BSONSchema() ([]byte, error) {
	return bson.MarshalExtJSONIndent(latest().contract.validator(), false, false, "", "  ")
}

// insert returns the rule of what a producer writes.
func (c *contract) insert(o SchemaOptions) (rule, error) {
	fields, rules := slices.Clone(c.producer), slices.Concat(c.rules, c.payloads)
	title := "intent"
	if o.Kind != "" && !slices.Contains(c.kinds, o.Kind) {
		return nil, fmt.Errorf("no schema for kind %q: the contract knows %s; another kind's payload may be any document", o.Kind, strings.Join(c.kinds, ", "))
	}
	for i, f := range fields {
		switch {
		case f.Key == "status":
			fields[i].Value = described("status", "status must be pending: the others are the worker's.", bson.E{Key: "enum", Value: bson.A{"pending"}})
		case f.Key == "kind" && o.Kind != "":
			fields[i].Value = onlyKind(o.Kind)
		case f.Key == "payload" && o.Kind != "":
			fields[i].Value, rules, title = c.payload(o.Kind), c.rules, "intent of kind "+o.Kind
		}
	}
	required := append(slices.Clone(c.required), "due_at")
	root := described(title, "What a producer inserts into the outbox, as relaxed Extended JSON. "+fieldList("an intent", required, c.producer, "on_done", "on_dead"),
		append(rule{{Key: "bsonType", Value: "object"}}, objectBody(required, fields, bson.E{Key: "patternProperties", Value: c.followUps})...)...)
	return append(root, bson.E{Key: "allOf", Value: rules}), nil
}

func onlyKind(kind string) rule {
	return described("kind", "kind must be "+kind+".", bson.E{Key: "bsonType", Value: "string"}, bson.E{Key: "enum", Value: bson.A{kind}})
}

// Properties returns the names of the fields that the contract gives to an object, in the contract's order, or nil
// where path names none. Path "" is the intent with the worker's fields; "lease", "last_error", "history",
// "write_back", "trace" are its objects; "payload.<kind>" the payload of a kind and, for example,
// "payload.email.attachments" an object within; "on_done" and "on_dead" a follow-up. For an array they are those of
// its elements.
func Properties(path string) []string {
	c := latest().contract
	at := c.schema()
	steps := strings.Split(path, ".")
	if len(steps) > 1 && steps[0] == "payload" {
		at, steps = c.payload(steps[1]), steps[2:]
	}
	for _, step := range steps {
		if step == "" {
			continue
		}
		next, ok := lookup(properties(at), step).(rule)
		if followUp := lookup(followUpsOf(at), v1FollowUpsPattern); !ok && followUp != nil && strings.HasPrefix(step, "on_") {
			next, _ = followUp.(rule)
		}
		if items, ok := lookup(next, "items").(rule); ok {
			next = items
		}
		at = next
	}
	var list []string
	for _, f := range properties(at) {
		if !isRefused(f.Value) {
			list = append(list, f.Key)
		}
	}
	if lookup(followUpsOf(at), v1FollowUpsPattern) != nil {
		list = append(list, "on_done", "on_dead")
	}
	return list
}

func properties(r rule) bson.D {
	d, _ := lookup(r, "properties").(bson.D)
	return d
}

func followUpsOf(r rule) bson.D {
	d, _ := lookup(r, "patternProperties").(bson.D)
	return d
}
