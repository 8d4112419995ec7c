package migrations

import (
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// payloadRule begins the title of the rule that ties a payload to its kind.
const payloadRule = "payload of kind "

// variant is an intent or a follow-up of one kind.
type variant struct {
	kind string // empty: all others
	rule rule
}

// variants takes the rule of an intent or a follow-up apart into one for each kind, so that a schema can name them as
// alternatives. It returns nil for any other rule.
func variants(r rule, others bool) []variant {
	rules, _ := lookup(r, "allOf").(bson.A)
	var rest, known bson.A
	var list []variant
	for _, item := range rules {
		title, _ := lookup(item.(rule), "title").(string)
		kind, isPayload := strings.CutPrefix(title, payloadRule)
		if !isPayload {
			rest = append(rest, item)
			continue
		}
		known = append(known, kind)
		fits := lookup(item.(rule), "anyOf").(bson.A)[1].(rule)
		list = append(list, variant{kind, withFields(r, onlyKind(kind), lookup(properties(fits), "payload").(rule))})
	}
	if others && list != nil {
		kind := described("kind", "kind must be one that a worker of yours is registered for.",
			bson.E{Key: "bsonType", Value: "string"}, bson.E{Key: "minLength", Value: int32(1)}, bson.E{Key: "not", Value: rule{{Key: "enum", Value: known}}})
		list = append(list, variant{"", withFields(r, kind, lookup(properties(r), "payload").(rule))})
	}
	for _, v := range list {
		for i, e := range v.rule {
			if e.Key == "allOf" {
				v.rule[i].Value = rest
			}
		}
	}
	return list
}

// withFields returns an object's rule with other rules for the kind and the payload.
func withFields(r, kind, payload rule) rule {
	out := slices.Clone(r)
	for i, e := range out {
		if e.Key != "properties" {
			continue
		}
		fields := slices.Clone(e.Value.(bson.D))
		for n, f := range fields {
			switch f.Key {
			case "kind":
				fields[n].Value = kind
			case "payload":
				fields[n].Value = payload
			}
		}
		out[i].Value = fields
	}
	return out
}
