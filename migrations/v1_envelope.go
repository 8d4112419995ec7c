package migrations

import (
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// Limits of the envelope in version 1.
const (
	v1MaxFollowUps = 16
	v1FollowUps    = 3         // levels below the intent
	v1MaxDelay     = 1<<31 - 1 // seconds
	v1MaxIDBytes   = 200
)

// v1Producer returns the fields that a producer writes, in the order of the contract.
func v1Producer() bson.D {
	return append(bson.D{
		{Key: "_id", Value: described("_id", v1IDText, bson.E{Key: "bsonType", Value: bson.A{"objectId", "binData", "string"}},
			bson.E{Key: "minLength", Value: int32(1)}, bson.E{Key: "maxLength", Value: int32(v1MaxIDBytes)})},
		{Key: "status", Value: strict.oneOf("status", "a producer inserts pending; the others are the worker's.",
			"pending", "leased", "done", "dead", "cancelled")},
		{Key: "due_at", Value: strict.date("due_at", "the earliest instant to run; now runs it as soon as possible.")},
	}, strict.v1Shared()...)
}

const v1IDText = "_id must be an ObjectId, a UUID (binary of subtype 4, 16 bytes) or a string of 1 to 200 bytes: the provider's idempotency key is derived from it."

// v1Shared returns the fields that an intent and a follow-up have in common.
func (v vocabulary) v1Shared() bson.D {
	return nullable([]string{"kind", "payload"}, bson.D{
		{Key: "v", Value: v.integer("v", "the version of the contract; leave it out or write 1.", 1, 1)},
		{Key: "kind", Value: v.text("kind", "kind must be a string of at least one character, the effect: charge, email, sms, or another that a worker is registered for.", 1, 0)},
		{Key: "payload", Value: v.typed("payload", "payload must be a document, what the kind's provider needs.", []string{"object"})},
		{Key: "expires_at", Value: v.date("expires_at", "past this instant it is never sent. Leave it out where it never expires.")},
		{Key: "priority", Value: v.integer("priority", "0 goes first, 1 is the default.", 0, 3)},
		{Key: "ordering_key", Value: refused("ordering_key", "ordering_key is not supported by this release: intents run in no fixed order. Leave it out; a release that keeps the order will accept it.")},
		{Key: "dedup_key", Value: v.text("dedup_key", "dedup_key must be a string of at least one character, unique among all intents that exist.", 1, 0)},
		{Key: "max_attempts", Value: v.integer("max_attempts", "attempts before it is dead; without it the kind's policy counts.", 1, 100)},
		{Key: "on_ambiguous", Value: v.oneOf("on_ambiguous", "what to do when nobody can know whether the provider acted.", "retry", "reconcile", "park")},
		{Key: "write_back", Value: v.v1WriteBack()},
		{Key: "metadata", Value: v.typed("metadata", "metadata must be a document whose values are all strings; outbox_id, outbox_ns and outbox_key are reserved.", []string{"object"},
			bson.E{Key: "properties", Value: v1Reserved()},
			bson.E{Key: "additionalProperties", Value: orNull(v.text("metadata value", "A metadata value must be a string; write numbers and dates as strings.", 0, 0))})},
		{Key: "trace", Value: v.producers("trace", "trace must be a document, the W3C trace context that the worker's spans continue.", nil, bson.D{
			{Key: "traceparent", Value: v.text("traceparent", "traceparent must be a string of at least one character, the W3C header of that name.", 1, 0)},
			{Key: "tracestate", Value: v.text("tracestate", "tracestate must be a string of at least one character (leave it out where it is empty), the W3C header of that name.", 1, 0)},
		})},
		{Key: "created_at", Value: v.date("created_at", "informational.")},
	})
}

func (v vocabulary) v1WriteBack() rule {
	values := func(outcome string) rule {
		return described("write_back."+outcome, "write_back."+outcome+" must be a document of fields to $set on the business document: paths such as payment.state, no update operators, and never _id.",
			bson.E{Key: "bsonType", Value: "object"},
			bson.E{Key: "patternProperties", Value: bson.D{{Key: `^$|^\$|\.\$|^_id(\.|$)`,
				Value: refused("a field of write_back", "A field of write_back must be an ordinary path: it may not be empty, begin with $, contain an operator, or be _id.")}}})
	}
	// The references in write_back are those of the settled intent, whatever the level, so it is never one itself.
	return strict.producers("write_back", "write_back must be a document that names one business document and what to $set on it.", []string{"collection", "id"}, bson.D{
		{Key: "collection", Value: strict.typed("write_back.collection", "write_back.collection must be the name of a collection that the worker's configuration allows, without the database's name.", []string{"string"},
			bson.E{Key: "minLength", Value: int32(1)})},
		{Key: "id", Value: described("write_back.id", "write_back.id must be the _id of the business document; an array, null or a regular expression cannot be one.",
			bson.E{Key: "not", Value: rule{{Key: "bsonType", Value: bson.A{"array", "null", "undefined", "regex"}}}})},
		{Key: "done", Value: values("done")},
		{Key: "dead", Value: values("dead")},
		{Key: "ambiguous", Value: values("ambiguous")},
	})
}

// v1Mapped names the fields that object mappers add by themselves, in an intent, a follow-up or a payload. They may
// hold anything, and mean nothing.
const v1Mapped = `^(__v|_class|createdAt|updatedAt)` + eos

func v1MappedField() bson.E { return bson.E{Key: v1Mapped, Value: rule{}} }

func v1MappedFields() bson.E { return bson.E{Key: "patternProperties", Value: bson.D{v1MappedField()}} }

// v1FollowUpsPattern names both fields at once: three levels of two fields would be fourteen copies of the same rules.
const v1FollowUpsPattern = `^on_(done|dead)$`

// v1FollowUpRules returns the rule for on_done and on_dead at the given level; the intent's own are level 1.
func v1FollowUpRules(level int) rule {
	if level > v1FollowUps {
		return described("follow-ups", "Follow-ups may be nested three levels deep at most: on_done and on_dead must be left out here.",
			bson.E{Key: "bsonType", Value: bson.A{"array", "null"}}, bson.E{Key: "maxItems", Value: int32(0)})
	}
	v := vocabulary{references: true}
	fields := append(v.v1Shared(), bson.E{Key: "delay_seconds",
		Value: orNull(strict.integer("delay_seconds", "seconds between the parent's end and the follow-up's due_at; the one field that takes no reference.", 0, v1MaxDelay))})
	fields = append(fields, bson.E{Key: "when", Value: orNull(strict.typed("when", "when must be an array of at least one dead_reason ("+strings.Join(v1DeadReasons(), ", ")+
		"): for other reasons this follow-up is left out.", []string{"array"}, bson.E{Key: "minItems", Value: int32(1)},
		bson.E{Key: "items", Value: rule{{Key: "enum", Value: names(v1DeadReasons())}}}))})
	for _, own := range []string{"_id", "status", "due_at"} {
		fields = append(fields, bson.E{Key: own, Value: refused(own, own+" of a follow-up is set by the worker; leave it out (delay_seconds sets a later due_at).")})
	}
	required := []string{"kind", "payload"}
	item := described("a follow-up", "A follow-up is an intent without _id, status, due_at and the worker's fields. "+
		fieldList("a follow-up", required, fields, "on_done", "on_dead"),
		append(rule{{Key: "bsonType", Value: "object"}}, objectBody(required, fields,
			bson.E{Key: "patternProperties", Value: bson.D{{Key: v1FollowUpsPattern, Value: v1FollowUpRules(level + 1)}, v1MappedField()}},
			bson.E{Key: "allOf", Value: append(v1FollowUpFields(), v.v1PayloadRules()...)})...)...)
	// An empty list is allowed: it says what leaving the field out says.
	return orNull(strict.array("on_done and on_dead", "follow-ups, intents that are inserted when this one is done or dead.", v1MaxFollowUps, item))
}

// v1FollowUpFields holds what the two fields of follow-ups do not share: only an end as a dead letter has reasons.
func v1FollowUpFields() bson.A {
	return bson.A{described("when is for on_dead", "when is only for follow-ups in on_dead.", bson.E{Key: "properties", Value: bson.D{
		{Key: "on_done", Value: rule{{Key: "items", Value: rule{{Key: "properties", Value: bson.D{
			{Key: "when", Value: refused("when", "when is only for follow-ups in on_dead: an intent that is done has no dead_reason.")}}}}}}}}})}
}
