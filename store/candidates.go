package store

import (
	"cmp"
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Names of the indexes that queries hint. They are part of the schema.
const (
	indexClaim       = "claim"       // kind, priority, due_at, _id; only where there is a due_at
	indexExpires     = "expires"     // expires_at, _id; only where there are an expires_at and a due_at
	indexDead        = "dead"        // dead_at, _id, newest first
	indexUnclaimable = "unclaimable" // status, _id; only what no claim can see
)

// earliest is the least Date there is: a producer's empty date is due as well.
const earliest = bson.DateTime(math.MinInt64)

// defaultPriority is the priority of an intent without one.
const defaultPriority = 1

// candidate is an intent that a claim may try to take, as an index entry shows it. Its fields may have any type: an array
// of dates is found by its dates, a decimal 1 as a 1. A claim takes such a document like any other, and it is settled with
// its problems; it must not be what ends the search.
type candidate struct {
	ID       bson.RawValue `bson:"_id"`
	Priority bson.RawValue `bson:"priority"`
	DueAt    bson.RawValue `bson:"due_at"`
}

// band is the priority; what is no number a driver writes has the default one.
func (c candidate) band() float64 {
	switch c.Priority.Type {
	case bson.TypeInt32:
		return float64(c.Priority.Int32())
	case bson.TypeInt64:
		return float64(c.Priority.Int64())
	case bson.TypeDouble:
		return c.Priority.Double()
	default:
		return defaultPriority
	}
}

// due is the instant from which it is due; what is no date is due for ever.
func (c candidate) due() bson.DateTime {
	if c.DueAt.Type != bson.TypeDateTime {
		return earliest
	}
	return bson.DateTime(c.DueAt.DateTime())
}

// candidates returns the _ids of at most limit intents of the kind that are due, in claim order: by priority, then by
// due_at. It reads index entries alone.
//
// Intents without a priority and those with one need a search each. A query on a missing field adds an index interval
// for undefined and is never covered: it would walk over the dead entries of the queue's head, and cost more with each
// claim. As bounds of one interval it does not.
func (s *Store) candidates(ctx context.Context, kind string, now time.Time, limit int) ([]bson.RawValue, error) {
	var (
		found [2][]candidate
		errs  [2]error
		both  sync.WaitGroup
	)
	both.Go(func() { found[0], errs[0] = read(ctx, s.withoutPriority(ctx, kind, now, limit)) })
	found[1], errs[1] = read(ctx, s.withPriority(ctx, kind, now, limit))
	both.Wait()
	if err := cmp.Or(errs[0], errs[1]); err != nil {
		return nil, err
	}
	all := slices.Concat(found[0], found[1])
	slices.SortStableFunc(all, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.band(), b.band()), cmp.Compare(a.due(), b.due()))
	})
	ids := make([]bson.RawValue, 0, min(limit, len(all)))
	for _, c := range all[:min(limit, len(all))] {
		ids = append(ids, c.ID)
	}
	return ids, nil
}

// search is what a Find returns.
type search struct {
	cursor *mongo.Cursor
	err    error
}

func read(ctx context.Context, s search) ([]candidate, error) {
	if s.err != nil {
		return nil, s.err
	}
	var list []candidate
	err := s.cursor.All(ctx, &list)
	return list, err
}

func (s *Store) withoutPriority(ctx context.Context, kind string, now time.Time, limit int) search {
	bounds := func(due, id any) bson.D {
		return bson.D{{Key: "kind", Value: kind}, {Key: "priority", Value: nil}, {Key: "due_at", Value: due}, {Key: "_id", Value: id}}
	}
	cursor, err := s.hints.Find(ctx, bson.D{}, options.Find().
		SetMin(bounds(earliest, bson.MinKey{})).SetMax(bounds(bson.NewDateTimeFromTime(now), bson.MaxKey{})).
		SetHint(indexClaim).
		SetProjection(bson.D{{Key: "_id", Value: 1}, {Key: "due_at", Value: 1}}).
		SetLimit(int64(limit)).SetBatchSize(int32(limit)))
	return search{cursor, err}
}

func (s *Store) withPriority(ctx context.Context, kind string, now time.Time, limit int) search {
	return s.withPriorities(ctx, kind, bson.A{0, 1, 2, 3}, now, limit)
}

func (s *Store) withPriorities(ctx context.Context, kind string, priorities bson.A, now time.Time, limit int) search {
	cursor, err := s.hints.Find(ctx,
		bson.D{
			{Key: "kind", Value: kind},
			{Key: "priority", Value: bson.D{{Key: "$in", Value: priorities}}},
			{Key: "due_at", Value: bson.D{{Key: "$gte", Value: earliest}, {Key: "$lte", Value: bson.NewDateTimeFromTime(now)}}},
		},
		options.Find().
			SetSort(bson.D{{Key: "priority", Value: 1}, {Key: "due_at", Value: 1}, {Key: "_id", Value: 1}}).
			SetHint(indexClaim).
			SetProjection(bson.D{{Key: "_id", Value: 1}, {Key: "priority", Value: 1}, {Key: "due_at", Value: 1}}).
			SetLimit(int64(limit)).SetBatchSize(int32(limit)))
	return search{cursor, err}
}
