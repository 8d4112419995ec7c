package migrations

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// JSONSchema returns the contract as standard JSON Schema (draft 2020-12) of what a producer writes: an intent in status
// pending, in relaxed Extended JSON, without the worker's fields. It is derived from the data of the validator. With a
// kind the schema is that of one kind. An unknown kind is an error that lists the known ones; "" is all kinds.
//
// Four rules of the validator have no counterpart in JSON Schema and stand in descriptions only: 200 bytes (not
// characters) of a string _id, 1000 recipients of an e-mail over three fields, the depth and types of template_data, and
// Decimal128, which relaxed Extended JSON writes as a document.
func JSONSchema(kind string) ([]byte, error) {
	c := latest().contract
	fields, rules := slices.Clone(c.producer), slices.Concat(c.rules, c.payloads)
	title := "intent"
	for i, f := range fields {
		switch {
		case f.Key == "status":
			fields[i].Value = described("status", "status must be pending: the others are the worker's.", bson.E{Key: "enum", Value: bson.A{"pending"}})
		case f.Key == "kind" && kind != "":
			fields[i].Value = described("kind", "kind must be "+kind+".", bson.E{Key: "enum", Value: bson.A{kind}})
		case f.Key == "payload" && kind != "":
			if !slices.Contains(c.kinds, kind) {
				return nil, fmt.Errorf("no schema for kind %q: the contract knows %s; another kind's payload may be any document", kind, strings.Join(c.kinds, ", "))
			}
			fields[i].Value, rules, title = c.payload(kind), c.rules, "intent of kind "+kind
		}
	}
	required := append(slices.Clone(c.required), "due_at")
	root := described(title, "What a producer inserts into the outbox, as relaxed Extended JSON. "+fieldList("an intent", required, c.producer, "on_done", "on_dead"),
		append(rule{{Key: "bsonType", Value: "object"}}, objectBody(required, fields, bson.E{Key: "patternProperties", Value: c.followUps})...)...)
	root = append(root, bson.E{Key: "allOf", Value: rules})
	t := translator{definitions: ordered{}}
	body := t.schema(root)
	out := append(ordered{{"$schema", "https://json-schema.org/draft/2020-12/schema"}}, body...)
	out = append(out, member{"$defs", t.definitions})
	return json.MarshalIndent(out, "", "  ")
}

// Properties returns the names of the fields that the contract gives to an object, in the contract's order, or nil where
// path names none. Path "" is the intent with the worker's fields; "lease", "last_error", "history", "write_back",
// "trace" are its objects; "payload.<kind>" the payload of a kind and, for example, "payload.email.attachments" an
// object within; "on_done" and "on_dead" a follow-up. For an array they are those of its elements.
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
