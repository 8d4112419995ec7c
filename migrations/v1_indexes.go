package migrations

import (
	"math"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// Names of the indexes of the outbox collection. They are part of the schema: queries hint them.
const (
	IndexClaim       = "claim"       // what can be claimed, in the order in which it is
	IndexDedup       = "dedup"       // dedup_key, unique
	IndexExpires     = "expires"     // what waits and expires
	IndexDead        = "dead"        // dead letters, newest first
	IndexRecorded    = "recorded"    // what is settled but for its consequences, which could not be written yet: normally empty
	IndexTTL         = "ttl"         // what the database deletes, and when
	IndexUnclaimable = "unclaimable" // what no claim can see, or none may, and what was cancelled without a purge_at: normally empty
	IndexDeadGroups  = "dead_groups" // dead letters by kind, reason and code, newest first
	IndexInDoubt     = "in_doubt"    // what is not finished, and nobody knows whether the provider acted
	IndexTroubled    = "troubled"    // what is not finished and met trouble, by since when it waits
	IndexCancelled   = "cancelled"   // what was cancelled, by kind, newest first
	IndexForeign     = "foreign"     // what has no kind: it is no intent, and no worker touches it; normally empty
)

// ratesKept is how long the rates by minute are kept, in seconds: a week and a day, so that an hour can be compared
// with the same hour of a week ago.
const ratesKept = 8 * 24 * 60 * 60

// v1RateIndexes returns the indexes of the collection of rates.
func v1RateIndexes() []index {
	return []index{
		{name: IndexTTL, keys: keys("at", 1), partial: there("at"), expireAfter: new(int32(ratesKept))},
		{name: "kind", keys: keys("_id.k", 1, "at", 1), partial: there("at")},
	}
}

// v1JobIndexes returns the indexes of the collection of bulk jobs.
func v1JobIndexes() []index {
	return []index{{name: "planned", keys: keys("planned", -1), partial: there("planned")}}
}

// v1AuditIndexes returns the indexes of the audit. Its _ids are ObjectIds, and so in the order of time.
func v1AuditIndexes() []index {
	return []index{
		{name: "on", keys: keys("on", 1, "_id", -1), partial: there("on")},
		{name: "who", keys: keys("who", 1, "_id", -1), partial: there("who")},
		{name: "job", keys: keys("job", 1, "_id", -1), partial: there("job")},
		v1PurgeIndex(),
	}
}

// v1PurgeIndex returns the index by which the database deletes documents at their purge_at.
func v1PurgeIndex() index {
	return index{name: IndexTTL, keys: keys("purge_at", 1), partial: there("purge_at"), expireAfter: new(int32(0))}
}

// there matches documents that have the field.
func there(field string) bson.D {
	return bson.D{{Key: field, Value: bson.D{{Key: "$exists", Value: true}}}}
}

// v1Indexes returns the indexes of version 1.
func v1Indexes() []index {
	exists := func(fields ...string) bson.D {
		var filter bson.D
		for _, f := range fields {
			filter = append(filter, bson.E{Key: f, Value: bson.D{{Key: "$exists", Value: true}}})
		}
		return filter
	}
	return []index{
		// due_at is there exactly while an intent waits or is leased, so nothing final is in the way of a claim.
		{name: IndexClaim, keys: keys("kind", 1, "priority", 1, "due_at", 1, "_id", 1), partial: exists("due_at")},
		// All strings but the empty one: a null is as good as an absent key, and must not be unique.
		{name: IndexDedup, keys: keys("dedup_key", 1), partial: bson.D{{Key: "dedup_key", Value: bson.D{{Key: "$gt", Value: ""}}}}, unique: true},
		// Neither field changes between pending and leased, so a claim does not move the entry.
		{name: IndexExpires, keys: keys("expires_at", 1, "_id", 1), partial: exists("expires_at", "due_at")},
		{name: IndexDead, keys: keys("dead_at", -1, "_id", -1), partial: exists("dead_at")},
		{name: IndexDeadGroups, keys: keys("kind", 1, "dead_reason", 1, "last_error.code", 1, "last_error.provider_code", 1, "dead_at", -1, "_id", -1),
			partial: exists("dead_at")},
		// Only what is cancelled has an entry, so that a page of it does not read what is done.
		{name: IndexCancelled, keys: keys("kind", 1, "cancelled_at", -1, "_id", -1), partial: bson.D{{Key: "status", Value: "cancelled"}}},
		{name: IndexInDoubt, keys: keys("kind", 1, "ambiguous_at", 1), partial: exists("ambiguous_at", "due_at")},
		// An intent that meets no trouble has no entry, so that nearly all intents cost nothing here. A retry by hand
		// begins a new wait, so that its instant has to be seen as well.
		{name: IndexTroubled, keys: keys("kind", 1, "first_due_at", 1, "retried.at", 1), partial: exists("last_error", "due_at")},
		{name: IndexRecorded, keys: keys("due_at", 1, "kind", 1, "outcome.at", 1, "_id", 1), partial: exists("outcome")},
		{name: IndexTTL, keys: keys("purge_at", 1), partial: exists("purge_at"), expireAfter: new(int32(0))},
		{name: IndexUnclaimable, keys: keys("status", 1, "_id", 1), partial: v1Unclaimable()},
		{name: IndexForeign, keys: keys("kind", 1, "_id", 1), partial: bson.D{{Key: "kind", Value: nil}}},
	}
}

// v1Unclaimable matches what no range of a claim reaches: one kind, one priority or none, due_at up to now. It also
// matches what a range must not find, because its status is none of a waiting intent. A document without a kind is
// somebody else's, and stays out. The ranges of numbers and strings are spelt out because a partial filter allows no
// $not, no $ne and no $nin.
//
// The server asks these conditions of each document before and after each write, in their order until one decides. So
// each begins with what an ordinary intent lacks, as far as the depth of four allows that a partial filter may have.
func v1Unclaimable() bson.D {
	op := func(pairs ...any) bson.D {
		var d bson.D
		for i := 0; i < len(pairs); i += 2 {
			d = append(d, bson.E{Key: pairs[i].(string), Value: pairs[i+1]})
		}
		return d
	}
	is := func(field string, condition any) bson.D { return bson.D{{Key: field, Value: condition}} }
	waiting := bson.E{Key: "due_at", Value: bson.D{{Key: "$exists", Value: true}}}
	ours := bson.E{Key: "kind", Value: op("$type", v1TypesBut("null", "undefined"))}
	return is("$or", bson.A{
		bson.D{{Key: "due_at", Value: nil}, {Key: "status", Value: op("$in", bson.A{"pending", "leased"})}, ours},

		// Cancelled by hand without a purge_at: the sweep gives it one.
		bson.D{{Key: "status", Value: "cancelled"}, {Key: "purge_at", Value: nil}, ours},

		bson.D{waiting, {Key: "$or", Value: bson.A{
			is("due_at", op("$type", v1TypesBut("date", "null"))),

			is("status", op("$lt", "leased")),
			is("status", op("$gt", "pending")),
			is("status", op("$type", v1TypesBut("string", "null"))),
			is("status", nil),

			is("kind", op("$type", v1TypesBut("string", "null"))),
			is("kind", ""),
		}}, ours},
		bson.D{{Key: "status", Value: op("$gt", "leased", "$lt", "pending")}, waiting, ours},

		bson.D{{Key: "priority", Value: op("$exists", true)}, waiting, {Key: "$or", Value: bson.A{
			is("priority", op("$type", v1TypesBut("int", "long", "double", "decimal", "null"))),
			is("priority", op("$lt", int32(0))),
			is("priority", op("$gt", int32(3))),
			is("priority", math.NaN()),
		}}, ours},
		bson.D{{Key: "priority", Value: op("$gt", int32(0), "$lt", int32(1))}, waiting, ours},
		bson.D{{Key: "priority", Value: op("$gt", int32(1), "$lt", int32(2))}, waiting, ours},
		bson.D{{Key: "priority", Value: op("$gt", int32(2), "$lt", int32(3))}, waiting, ours},
	})
}

// v1TypesBut returns the names of all BSON types but the given ones.
func v1TypesBut(but ...string) bson.A {
	var list bson.A
	for _, t := range []string{"double", "string", "object", "array", "binData", "undefined", "objectId", "bool", "date", "null",
		"regex", "dbPointer", "javascript", "symbol", "javascriptWithScope", "int", "timestamp", "long", "decimal", "minKey", "maxKey"} {
		if !slices.Contains(but, t) {
			list = append(list, t)
		}
	}
	return list
}
