package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/store/internal/expr"
)

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
