package migrations

import (
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// contract is the intent contract of one version as data. The validator, the JSON Schema and the tests derive from it.
type contract struct {
	producer  bson.D // fields that a producer writes, each with its rule
	followUps bson.D // producer's fields named by pattern
	worker    bson.D // fields that only the worker writes
	required  []string
	rules     bson.A   // rules over several of the producer's fields
	payloads  bson.A   // rules that tie the payload to the kind
	status    bson.A   // rules that tie the worker's and the producer's fields to the status
	queries   bson.A   // rules that JSON Schema cannot express, as query expressions
	kinds     []string // kinds whose payload has rules
	payload   func(kind string) rule
}

// schema returns the contract as the document of $jsonSchema.
func (c *contract) schema() rule {
	fields := append(c.producer[:len(c.producer):len(c.producer)], c.worker...)
	description := "An intent is one document of the outbox. " + fieldList("an intent", c.required, c.producer, "on_done", "on_dead") +
		" The worker's own fields are not for producers."
	rules := slices.Concat(c.rules, c.payloads, c.status)
	return described("intent", description, append(rule{{Key: "bsonType", Value: "object"}},
		objectBody(c.required, fields,
			bson.E{Key: "patternProperties", Value: c.followUps}, bson.E{Key: "allOf", Value: rules})...)...)
}

// validator returns the contract as a collection's validator.
func (c *contract) validator() bson.D {
	return bson.D{{Key: "$jsonSchema", Value: c.schema()}, {Key: "$and", Value: c.queries}}
}

// v1Contract is frozen: see the package comment.
func v1Contract() *contract {
	c := &contract{
		producer:  v1Producer(),
		followUps: bson.D{{Key: v1FollowUpsPattern, Value: v1FollowUpRules(1)}, v1MappedField()},
		worker:    v1Worker(),
		required:  []string{"kind", "status", "payload"},
		rules:     v1FollowUpFields(),
		payloads:  strict.v1PayloadRules(),
		status:    v1StatusRules(),
		queries:   v1Queries(),
	}
	for _, k := range v1Kinds() {
		c.kinds = append(c.kinds, k.name)
	}
	c.payload = func(kind string) rule {
		for _, k := range v1Kinds() {
			if k.name == kind {
				return k.payload(strict)
			}
		}
		return nil
	}
	return c
}

// v1Queries returns what $jsonSchema cannot say. Each is an alternative between the query that decides and a stricter
// $jsonSchema, which is there because only that one carries a description into the server's explanation.
func v1Queries() bson.A {
	least, most := uuids()
	uuid := bson.D{{Key: "_id", Value: bson.D{
		{Key: "$gte", Value: least}, {Key: "$lte", Value: most}}}}
	isString := bson.D{{Key: "$eq", Value: bson.A{bson.D{{Key: "$type", Value: "$_id"}}, "string"}}}
	short := bson.D{{Key: "$expr", Value: bson.D{{Key: "$and", Value: bson.A{isString,
		bson.D{{Key: "$lte", Value: bson.A{bson.D{{Key: "$strLenBytes", Value: bson.D{{Key: "$cond", Value: bson.A{isString, "$_id", ""}}}}}, int32(v1MaxIDBytes)}}}}}}}}
	objectID := bson.D{{Key: "$jsonSchema", Value: rule{{Key: "properties", Value: bson.D{
		{Key: "_id", Value: described("_id", v1IDText, bson.E{Key: "bsonType", Value: "objectId"})}}}}}}

	size := func(field string) bson.D {
		return bson.D{{Key: "$cond", Value: bson.A{bson.D{{Key: "$isArray", Value: field}}, bson.D{{Key: "$size", Value: field}}, int32(0)}}}
	}
	few := bson.D{{Key: "$expr", Value: bson.D{{Key: "$lt", Value: bson.A{
		bson.D{{Key: "$add", Value: bson.A{size("$payload.cc"), size("$payload.bcc")}}}, int32(v1MaxRecipients)}}}}}
	none := bson.D{{Key: "$jsonSchema", Value: described("recipients of an email",
		"An email may have at most 1000 recipients in to, cc and bcc together, SendGrid's limit: split it into several intents.",
		bson.E{Key: "properties", Value: bson.D{{Key: "payload", Value: rule{without("cc", "bcc")}}}})}}
	notEmail := bson.D{{Key: "kind", Value: bson.D{{Key: "$ne", Value: "email"}}}}

	return bson.A{
		bson.D{{Key: "$or", Value: bson.A{objectID, uuid, short}}},
		bson.D{{Key: "$or", Value: bson.A{none, notEmail, few}}},
		v1TemplateData(),
	}
}

// uuids returns the least and the greatest UUID. Binary values compare by length, then subtype, then bytes, so what
// lies between them is all UUIDs and nothing else.
func uuids() (least, most bson.Binary) {
	zeros, ones := make([]byte, 16), make([]byte, 16)
	for i := range ones {
		ones[i] = 0xff
	}
	return bson.Binary{Subtype: bson.TypeBinaryUUID, Data: zeros}, bson.Binary{Subtype: bson.TypeBinaryUUID, Data: ones}
}
