package migrations

import "go.mongodb.org/mongo-driver/v2/bson"

// v1Objects returns what version 1 consists of, in the order in which it is created.
func v1Objects(l layout, c *contract) []object {
	// The side collections exist before the first worker starts, because a transaction must not have to create one.
	list := []object{
		collection{name: l.meta},
		collection{name: l.lanes},
		collection{name: l.workers},
		collection{name: l.rates},
		collection{name: l.jobs},
		collection{name: l.audit},
		collection{name: l.sessions},
		collection{name: l.answers},
		collection{name: l.outbox, validator: c.validator()},
	}
	for _, ix := range v1Indexes() {
		ix.collection = l.outbox
		list = append(list, ix)
	}
	for _, ix := range v1RateIndexes() {
		ix.collection = l.rates
		list = append(list, ix)
	}
	for _, ix := range v1JobIndexes() {
		ix.collection = l.jobs
		list = append(list, ix)
	}
	for _, ix := range v1AuditIndexes() {
		ix.collection = l.audit
		list = append(list, ix)
	}
	for _, name := range []string{l.sessions, l.answers} {
		ix := v1PurgeIndex()
		ix.collection = name
		list = append(list, ix)
	}
	return append(list, view{name: l.dead, on: l.outbox, pipeline: v1DeadLetters()})
}

// v1DeadLetters lists the dead letters by the index dead, newest first, what a reader wants to know in front. Putting
// fields in front takes a merge: a projection keeps the document's order.
func v1DeadLetters() bson.A {
	var front bson.D
	for _, f := range []string{"_id", "dead_reason", "kind", "dead_at", "last_error", "attempts"} {
		front = append(front, bson.E{Key: f, Value: "$" + f})
	}
	return bson.A{
		bson.D{{Key: "$match", Value: bson.D{{Key: "dead_at", Value: bson.D{{Key: "$exists", Value: true}}}, {Key: "status", Value: "dead"}}}},
		bson.D{{Key: "$sort", Value: keys("dead_at", -1, "_id", -1)}},
		bson.D{{Key: "$replaceWith", Value: bson.D{{Key: "$mergeObjects", Value: bson.A{front, "$$ROOT"}}}}},
	}
}
