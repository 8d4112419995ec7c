package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/outbox"
)

// errMissed is returned where a write of the ceiling did not meet every intent, so that its figure would be worthless.
var errMissed = errors.New("a write did not meet every intent")

// ceiling finds the best of a few batch sizes and parallelisms.
func (r *run) ceiling(ctx context.Context) (*Ceiling, error) {
	batches, parallels := []int{200, 500, 1000}, []int{2, 4, 8}
	if r.Quick {
		batches, parallels = []int{500, 1000}, []int{4}
	}
	result := &Ceiling{}
	for _, batch := range batches {
		for _, parallel := range parallels {
			try, err := r.ceilingOnce(ctx, batch, parallel)
			if err != nil {
				return nil, err
			}
			r.say("ceiling: %d a batch, %d in parallel: %.0f intents/s, server CPU %.3f s/1000", batch, parallel, try.Rate, try.CPU)
			result.Tries = append(result.Tries, try)
			if try.Rate > result.Rate {
				result.Batch, result.Parallel, result.Rate = batch, parallel, try.Rate
			}
		}
	}
	return result, nil
}

// bestCeiling returns the best combination, which it finds if no part before has.
func (r *run) bestCeiling(ctx context.Context) (*Ceiling, error) {
	if r.report.Ceiling == nil {
		c, err := r.ceiling(ctx)
		if err != nil {
			return nil, err
		}
		r.report.Ceiling = c
	}
	return r.report.Ceiling, nil
}

// ceilingOnce writes each intent twice, a claim and a settle, by nothing but the cheapest commands that leave the
// documents and indexes as a worker leaves them: an updateMany with constants, and one with a literal table of the
// receipts.
func (r *run) ceilingOnce(ctx context.Context, batch, parallel int) (try CeilingTry, err error) {
	try.Batch, try.Parallel = batch, parallel
	c, drop, err := r.collection(ctx)
	if err != nil {
		return try, err
	}
	defer func() { err = errors.Join(err, drop()) }()
	ids, err := loadDue(ctx, c, r.Intents)
	if err != nil {
		return try, err
	}
	if err := r.checkpoint(ctx); err != nil {
		return try, err
	}
	before, err := r.counts(ctx)
	if err != nil {
		return try, err
	}
	began := time.Now()
	err = inParallel(ctx, parallel, batch, len(ids), func(ctx context.Context, from, to int) error {
		some := ids[from:to]
		token := bson.NewObjectID().Hex()
		if err := updateAll(ctx, c, some, claimUpdate(token)); err != nil {
			return err
		}
		return updateAll(ctx, c, some, settleUpdate(some))
	})
	if err != nil {
		return try, fmt.Errorf("measure the ceiling, %d a batch, %d in parallel: %w", batch, parallel, err)
	}
	try.Rate = float64(len(ids)) / time.Since(began).Seconds()
	after, err := r.counts(ctx)
	try.CPU = after.since(before).cpu() / float64(len(ids)) * 1000
	return try, err
}

func updateAll(ctx context.Context, c *mongo.Collection, ids []bson.ObjectID, update any) error {
	result, err := c.UpdateMany(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}}, update,
		options.UpdateMany().SetBypassDocumentValidation(true).SetHint(bson.D{{Key: "_id", Value: 1}}))
	if err == nil && result.ModifiedCount != int64(len(ids)) {
		err = errMissed
	}
	return err
}

func claimUpdate(token string) bson.D {
	now := bson.NewDateTimeFromTime(time.Now())
	return bson.D{{Key: "$set", Value: bson.D{
		{Key: "lease", Value: bson.D{{Key: "token", Value: token}, {Key: "owner", Value: "bench"}, {Key: "at", Value: now}, {Key: "reclaimed", Value: false}}},
		{Key: "status", Value: outbox.StatusLeased}, {Key: "due_at", Value: bson.NewDateTimeFromTime(time.Now().Add(45 * time.Second))},
		{Key: "attempts", Value: 1}, {Key: "first_attempt_at", Value: now},
	}}}
}

func settleUpdate(ids []bson.ObjectID) mongo.Pipeline {
	now := bson.NewDateTimeFromTime(time.Now())
	results := make(bson.A, len(ids))
	for i, id := range ids {
		results[i] = bson.D{{Key: "provider", Value: "bench"}, {Key: "id", Value: id.Hex()}, {Key: "status", Value: "accepted"}}
	}
	literal := func(v any) bson.D { return bson.D{{Key: "$literal", Value: v}} }
	return mongo.Pipeline{
		{{Key: "$set", Value: bson.D{
			{Key: "status", Value: outbox.StatusDone},
			{Key: "result", Value: bson.D{{Key: "$arrayElemAt", Value: bson.A{literal(results), bson.D{{Key: "$indexOfArray", Value: bson.A{literal(ids), "$_id"}}}}}}},
			{Key: "history", Value: literal(bson.A{bson.D{
				{Key: "attempt", Value: 1}, {Key: "at", Value: now}, {Key: "ms", Value: int64(1)}, {Key: "outcome", Value: outbox.Done}, {Key: "worker", Value: "bench"},
			}})},
			{Key: "done_at", Value: now}, {Key: "purge_at", Value: bson.NewDateTimeFromTime(time.Now().Add(week))},
		}}},
		{{Key: "$unset", Value: bson.A{"lease", "due_at"}}},
	}
}
