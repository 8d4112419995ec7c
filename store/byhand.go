package store

import (
	"context"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store/internal/expr"
)

// handFields are what people's changes are judged by. A change is written only where all of them still are as they were
// read, so that no change rests on a document that is no more.
var handFields = [...]string{"status", "dead_at", "dead_reason", "ambiguous_at", "last_error", "lease", "outcome", "attempts", "generation",
	"first_attempt_at", "history", "dropped", "result", "done_at", "retried", "resolved"}

// byHand makes one person's change to the document that was read. The error wraps [ErrChanged] if it is no longer that.
func (s *Store) byHand(ctx context.Context, doing string, raw bson.Raw, set bson.D, unset ...string) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	filter := bson.D{{Key: "_id", Value: equal(raw.Lookup("_id"))}}
	for _, field := range handFields {
		if v, err := raw.LookupErr(field); err == nil {
			filter = append(filter, bson.E{Key: field, Value: equal(v)})
		} else {
			filter = append(filter, bson.E{Key: field, Value: expr.Exists(false)})
		}
	}
	pipeline := mongo.Pipeline{expr.Set(set)}
	if len(unset) > 0 {
		pipeline = append(pipeline, expr.Unset(unset))
	}
	result, err := s.updateMany(ctx, filter, pipeline, "_id")
	if err != nil {
		return failed(err, "%s", doing)
	}
	if result.MatchedCount == 0 {
		return fmt.Errorf("%s: %w", doing, ErrChanged)
	}
	return nil
}

// stamped returns an expression for a document with the given fields and, between the first and the others, the instant
// at.
func stamped(first bson.E, others ...bson.E) bson.D {
	return expr.MergeObjects(expr.Literal(bson.D{first}), bson.D{{Key: "at", Value: "$$NOW"}}, expr.Literal(append(bson.D{}, others...)))
}

// recording returns what appends a person's act to history, and drops the oldest of such events beyond those that
// history keeps.
func recording(raw bson.Raw, what outbox.What, fields ...bson.E) bson.D {
	var kept bson.A
	events := 1
	records, _ := raw.Lookup("history").ArrayOK()
	values, _ := records.Values() // what is no array has none
	for _, v := range values {
		if isEvent(v) {
			events++
		}
		kept = append(kept, v)
	}
	dropped, _ := raw.Lookup("dropped").AsInt64OK()
	before := dropped
	for i := 0; i < len(kept) && events > outbox.MaxHistory; {
		if !isEvent(kept[i].(bson.RawValue)) {
			i++
			continue
		}
		kept = append(kept[:i], kept[i+1:]...)
		events--
		dropped++
	}
	record := stamped(bson.E{Key: "what", Value: what}, fields...)
	set := bson.D{{Key: "history", Value: expr.ConcatArrays(expr.Literal(append(bson.A{}, kept...)), bson.A{record})}}
	if dropped > before {
		set = append(set, bson.E{Key: "dropped", Value: int32(dropped)})
	}
	return set
}

// isEvent reports whether a record of history is of anything but an attempt.
func isEvent(record bson.RawValue) bool {
	doc, ok := record.DocumentOK()
	if !ok {
		return false
	}
	what, ok := doc.Lookup("what").StringValueOK()
	return ok && outbox.What(what) != outbox.WhatAttempt
}

// texts returns the fields that are not empty.
func texts(fields ...bson.E) []bson.E {
	var list []bson.E
	for _, f := range fields {
		if f.Value != "" {
			list = append(list, f)
		}
	}
	return list
}
