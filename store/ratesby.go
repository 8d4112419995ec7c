package store

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store/internal/expr"
)

// RatesBy returns what [Store.Rates] does, summed up by steps that begin at from. The Minute of each is where its step
// begins. The database sums up, so that a week of a chart is a few documents on the wire. The step is at least a
// minute.
func (s *Store) RatesBy(ctx context.Context, kind string, from, until time.Time, step time.Duration) ([]outbox.RateMinute, error) {
	const doing = "sum up the rates"
	ctx, cancel := s.bound(ctx)
	defer cancel()
	from, step = from.UTC().Truncate(time.Minute), max(step, time.Minute)
	filter, hint := ratesIn(kind, from, until)
	place := expr.Floor(expr.Divide(expr.Subtract("$at", from), step.Milliseconds()))
	sums := bson.D{{Key: "_id", Value: bson.D{{Key: "step", Value: place}, {Key: "kind", Value: "$_id.k"}}}}
	var counted outbox.RateMinute
	for name := range rateFields(&counted.RateCounters) {
		sums = append(sums, bson.E{Key: name, Value: expr.Sum("$n." + name)})
	}
	for i := range counted.Took {
		sums = append(sums, bson.E{Key: tookSum(i), Value: expr.Sum("$took." + strconv.Itoa(i))})
	}
	cursor, err := s.rates.Aggregate(ctx, mongo.Pipeline{expr.Match(filter), expr.Group(sums)}, options.Aggregate().SetHint(hint))
	if err != nil {
		return nil, failed(err, doing)
	}
	defer cursor.Close(context.WithoutCancel(ctx))
	var list []outbox.RateMinute
	for cursor.Next(ctx) {
		number := func(path ...string) int64 {
			n, _ := cursor.Current.Lookup(path...).AsInt64OK() // a sum is a number
			return n
		}
		of, _ := cursor.Current.Lookup("_id", "kind").StringValueOK()
		m := outbox.RateMinute{Minute: from.Add(time.Duration(number("_id", "step")) * step), Kind: of}
		for name, n := range rateFields(&m.RateCounters) {
			*n = number(name)
		}
		for i := range m.Took {
			m.Took[i] = number(tookSum(i))
		}
		list = append(list, m)
	}
	sortRates(list)
	return list, failed(cursor.Err(), doing)
}

func tookSum(place int) string { return fmt.Sprintf("took_%d", place) }
