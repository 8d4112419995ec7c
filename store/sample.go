package store

import (
	"context"
	"math/rand/v2"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/outbox"
)

// sampleFrom is from how many of the oldest a sample takes any, beside those that it leaves out.
const sampleFrom = 64

// sample returns up to order.Limit of what is due, but for order.Except: the newest of a priority, or any of its
// oldest, each as likely, so that a probe does not meet one group of intents again and again.
func (s *Store) sample(ctx context.Context, front *front, order outbox.ClaimOrder, now time.Time, before map[string]bool) ([]candidate, error) {
	for _, id := range order.Except {
		raw, err := rawOf(encode(id))
		if err != nil {
			return nil, err
		}
		before[keyOf(raw)] = true
	}
	newest := rand.N(2) == 0
	until := bson.NewDateTimeFromTime(now)
	for _, b := range rand.Perm(bands) {
		limit := sampleFrom + len(before)
		find := s.inBand
		if newest {
			find = s.newestInBand
		}
		found, err := read(ctx, find(ctx, order.Kind, b, earliest, until, 0, limit))
		if err != nil {
			return nil, err
		}
		if found = front.free(found, before); len(found) == 0 {
			continue
		}
		if !newest {
			rand.Shuffle(len(found), func(i, j int) { found[i], found[j] = found[j], found[i] })
		}
		return found[:min(order.Limit, len(found))], nil
	}
	return nil, nil
}

// newestInBand reads what inBand does from its end.
func (s *Store) newestInBand(ctx context.Context, kind string, b int, from, until bson.DateTime, skip, limit int) search {
	cursor, err := s.hints.Find(ctx, bson.D{}, bandOptions(kind, b, from, until, skip, limit).
		SetSort(bson.D{{Key: "kind", Value: -1}, {Key: "priority", Value: -1}, {Key: "due_at", Value: -1}, {Key: "_id", Value: -1}}))
	return search{cursor, err}
}

// bandOptions are those of a search of one band as one interval of the claim index.
func bandOptions(kind string, b int, from, until bson.DateTime, skip, limit int) *options.FindOptionsBuilder {
	bounds := func(due, id any) bson.D {
		return bson.D{{Key: "kind", Value: kind}, {Key: "priority", Value: priorityOf(b)}, {Key: "due_at", Value: due}, {Key: "_id", Value: id}}
	}
	return options.Find().
		SetMin(bounds(from, bson.MinKey{})).SetMax(bounds(until, bson.MaxKey{})).
		SetHint(indexClaim).
		SetProjection(bson.D{{Key: "_id", Value: 1}, {Key: "priority", Value: 1}, {Key: "due_at", Value: 1}}).
		SetSkip(int64(skip)).SetLimit(int64(limit)).SetBatchSize(int32(limit))
}
