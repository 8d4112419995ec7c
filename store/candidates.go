package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store/internal/expr"
	"github.com/outboxd/outboxd/store/internal/scan"
)

// Names of the indexes that queries hint. They are part of the schema.
const (
	indexClaim       = "claim"       // kind, priority, due_at, _id; only where there is a due_at
	indexExpires     = "expires"     // expires_at, _id; only where there are an expires_at and a due_at
	indexRecorded    = "recorded"    // due_at, kind, outcome.at, _id; only where there is an outcome
	indexDead        = "dead"        // dead_at, _id, newest first
	indexUnclaimable = "unclaimable" // status, _id; only what no claim can see
	indexDeadGroups  = "dead_groups" // kind, dead_reason, last_error.code, last_error.provider_code, dead_at, _id
	indexInDoubt     = "in_doubt"    // kind, ambiguous_at; only where there is a due_at
	indexTroubled    = "troubled"    // kind, first_due_at, retried.at; only where there are a last_error and a due_at
	indexCancelled   = "cancelled"   // kind, cancelled_at, _id, newest first; only what is cancelled
	indexTTL         = "ttl"         // purge_at; only where there is one
	indexForeign     = "foreign"     // kind, _id; only what has no kind
)

// earliest is the least Date there is: a producer's empty date is due as well.
const earliest = bson.DateTime(math.MinInt64)

// defaultPriority is the priority of an intent without one.
const defaultPriority = 1

// searchOf says what a claim's search is to find.
func searchOf(order outbox.ClaimOrder) scan.Order {
	o := scan.Order{Limit: order.Limit, Spread: order.Spread, Soon: order.Soon, Sample: order.Sample, Draw: rand.IntN}
	for _, id := range order.Except {
		o.Except = append(o.Except, keyOf(rawID(id)))
	}
	return o
}

// search reads what the scanner plans for a claim, index entries alone, until it has enough.
func (s *Store) search(ctx context.Context, q *scanner, c *scan.Claim, kind string, now time.Time) error {
	until := scan.Instant(bson.NewDateTimeFromTime(now))
	for {
		var ranges []scan.Range
		q.with(func(q *scan.Queue, now time.Time) { ranges = q.Plan(now, until, c) })
		if len(ranges) == 0 {
			return nil
		}
		results, err := s.readRanges(ctx, kind, ranges)
		if err != nil {
			return err
		}
		q.with(func(q *scan.Queue, now time.Time) {
			for i, r := range ranges {
				q.Observe(now, c, r, results[i])
			}
		})
	}
}

// readRanges reads ranges of the claim index, all at the same time.
func (s *Store) readRanges(ctx context.Context, kind string, ranges []scan.Range) ([]scan.Result, error) {
	results, errs := make([]scan.Result, len(ranges)), make([]error, len(ranges))
	one := func(i int) {
		began := time.Now()
		cursor, err := s.findRange(ctx, kind, ranges[i])
		results[i].Found, errs[i] = read(ctx, cursor, err)
		results[i].Took = time.Since(began)
	}
	var others sync.WaitGroup
	for i := range ranges[1:] {
		others.Go(func() { one(i + 1) })
	}
	one(0)
	others.Wait()
	return results, errors.Join(errs...)
}

// findRange reads a range of the claim index.
//
// One band is read as one interval, by min and max. A query on a missing priority would add an index interval for
// undefined and never be covered: it would walk over the dead entries of the queue's head, and cost more with each
// claim.
//
// Several bands are read by a query on their priorities. It asks for no order, but has that of the index. To ask for it
// would make no difference, were it not that one array in any document's due_at or priority makes the index multikey
// for ever: then the server takes no order from it, and sorts all that is due for each claim. For the same reason there
// is one bound for the dates: of two it would use one.
func (s *Store) findRange(ctx context.Context, kind string, r scan.Range) (*mongo.Cursor, error) {
	o := options.Find().SetHint(indexClaim).
		SetProjection(expr.Fields("_id", "priority", "due_at")).
		SetSkip(int64(r.Skip)).SetLimit(int64(r.Limit)).SetBatchSize(int32(r.Limit))
	if r.Newest {
		o.SetSort(expr.Descending("kind", "priority", "due_at", "_id"))
	}
	if len(r.Bands) == 1 {
		bounds := func(due scan.Instant, id any) bson.D {
			return bson.D{{Key: "kind", Value: kind}, {Key: "priority", Value: priorityOf(r.Bands[0])}, {Key: "due_at", Value: bson.DateTime(due)}, {Key: "_id", Value: id}}
		}
		return s.hints.Find(ctx, bson.D{}, o.SetMin(bounds(r.From, bson.MinKey{})).SetMax(bounds(r.Until, bson.MaxKey{})))
	}
	priorities := make(bson.A, len(r.Bands))
	for i, b := range r.Bands {
		priorities[i] = priorityOf(b)
	}
	return s.hints.Find(ctx, bson.D{
		{Key: "kind", Value: kind},
		{Key: "priority", Value: expr.In(priorities)},
		{Key: "due_at", Value: expr.Lte(bson.DateTime(r.Until))},
	}, o)
}

// priorityOf returns the priority of a band as a search asks for it.
func priorityOf(b scan.Band) any {
	if priority, ok := b.Priority(); ok {
		return int32(priority)
	}
	return nil
}

// read reads what a Find returns, which may be an error. The fields of an index entry may have any type: an array of
// dates is found by its dates, a decimal 1 as a 1. A claim takes such a document like any other, and it is settled with
// its problems; it must not be what ends the search.
func read(ctx context.Context, cursor *mongo.Cursor, err error) ([]scan.Entry, error) {
	if err != nil {
		return nil, err
	}
	defer cursor.Close(context.WithoutCancel(ctx))
	list := make([]scan.Entry, 0, cursor.RemainingBatchLength())
	for cursor.Next(ctx) {
		e := scan.Entry{Priority: defaultPriority, Due: scan.Earliest}
		err := elements(cursor.Current, func(key []byte, t bson.Type, value []byte) error {
			switch v := (bson.RawValue{Type: t, Value: value}); string(key) {
			case "_id":
				e.ID = keyOf(v)
			case "priority":
				e.Priority = numberIn(v)
			case "due_at":
				if t == bson.TypeDateTime { // what is no date is due for ever
					e.Due = scan.Instant(v.DateTime())
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	return list, cursor.Err()
}

// numberIn returns a priority; what is no number that a driver writes has the default one.
func numberIn(v bson.RawValue) float64 {
	switch v.Type {
	case bson.TypeInt32:
		return float64(v.Int32())
	case bson.TypeInt64:
		return float64(v.Int64())
	case bson.TypeDouble:
		return v.Double()
	default:
		return defaultPriority
	}
}

// idsAt returns the _ids of entries.
func idsAt(all []scan.Entry) []bson.RawValue {
	ids := make([]bson.RawValue, len(all))
	for i, e := range all {
		ids[i] = idOfKey(e.ID)
	}
	return ids
}

// keyOf makes an _id usable as the key of a map.
func keyOf(id bson.RawValue) string { return string([]byte{byte(id.Type)}) + string(id.Value) }

// idOfKey returns the _id of which [keyOf] made a key.
func idOfKey(key string) bson.RawValue {
	return bson.RawValue{Type: bson.Type(key[0]), Value: []byte(key[1:])}
}

// mostUpcoming bounds what one look at what becomes due reads.
const mostUpcoming = 100

// Upcoming returns when intents of the kind become claimable between now and the given time from now: soonest first, by
// the database's clock, those that are claimable already included. whole is false if there may be more. It reads at
// most a hundred index entries, in one round trip.
func (s *Store) Upcoming(ctx context.Context, kind string, within time.Duration) (due []time.Time, whole bool, err error) {
	doing := fmt.Sprintf("look for what of kind %q becomes due", kind)
	ctx, cancel := s.bound(ctx)
	defer cancel()
	now, err := s.freshNow(ctx)
	if err != nil {
		return nil, false, failed(err, "%s", doing)
	}
	cursor, err := s.hints.Find(ctx,
		bson.D{
			{Key: "kind", Value: kind},
			{Key: "due_at", Value: expr.Lte(bson.NewDateTimeFromTime(now.Add(within)))},
		},
		options.Find().SetHint(indexClaim).SetProjection(bson.D{{Key: "_id", Value: 0}, {Key: "due_at", Value: 1}}).
			SetLimit(mostUpcoming).SetBatchSize(mostUpcoming))
	found, err := read(ctx, cursor, err)
	if err != nil {
		return nil, false, failed(err, "%s", doing)
	}
	for _, c := range found {
		due = append(due, bson.DateTime(c.Due).Time())
	}
	slices.SortFunc(due, time.Time.Compare)
	return due, len(found) < mostUpcoming, nil
}
