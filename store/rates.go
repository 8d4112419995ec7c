package store

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store/internal/expr"
)

// MostRates bounds how many minutes [Store.Rates] returns: more than eight days of three kinds hold.
const MostRates = 40_000

// indexRatesKind is the index of the rates by _id.k and at.
const indexRatesKind = "kind"

// rateDocument is one minute of one kind.
type rateDocument struct {
	ID struct {
		Minute time.Time `bson:"m"`
		Kind   string    `bson:"k"`
	} `bson:"_id"`
	Counters map[string]int64 `bson:"n"`
	Took     map[string]int64 `bson:"took"`
}

// rateFields are the counters by their names in the documents.
func rateFields(c *outbox.RateCounters) map[string]*int64 {
	return map[string]*int64{
		"claimed": &c.Claimed, "done": &c.Done, "dead": &c.Dead, "ambiguous": &c.Ambiguous, "retried": &c.Retried,
		"released": &c.Released, "lookups": &c.LookUps, "business": &c.Business, "transport": &c.Transport,
		"limited": &c.Limited, "lease_lost": &c.LeaseLost,
	}
}

// AddRates adds what a worker counted to the minutes. It does not wait for a majority: what a failover takes with it
// are figures for people. After an error some of it may have been added.
func (s *Store) AddRates(ctx context.Context, minutes []outbox.RateMinute) error {
	var models []mongo.WriteModel
	for _, m := range minutes {
		var inc bson.D
		for name, n := range rateFields(&m.RateCounters) {
			if *n != 0 {
				inc = append(inc, bson.E{Key: "n." + name, Value: *n})
			}
		}
		for i, n := range m.Took {
			if n != 0 {
				inc = append(inc, bson.E{Key: "took." + strconv.Itoa(i), Value: n})
			}
		}
		if len(inc) == 0 {
			continue
		}
		minute := m.Minute.UTC().Truncate(time.Minute)
		models = append(models, mongo.NewUpdateOneModel().SetUpsert(true).
			SetFilter(bson.D{{Key: "_id", Value: bson.D{{Key: "m", Value: minute}, {Key: "k", Value: m.Kind}}}}).
			SetUpdate(bson.D{{Key: "$inc", Value: inc}, {Key: "$setOnInsert", Value: bson.D{{Key: "at", Value: minute}}}}))
	}
	if len(models) == 0 {
		return nil
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	_, err := s.rates.BulkWrite(ctx, models, options.BulkWrite().SetOrdered(false))
	return failed(err, "add to the rates")
}

// Rates returns the minutes from the first instant on and before the second one, the oldest first, and by kind. An
// empty kind stands for all. A minute in which nothing happened is missing. Of more than [MostRates] the newest come.
func (s *Store) Rates(ctx context.Context, kind string, from, until time.Time) ([]outbox.RateMinute, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	const doing = "read the rates"
	filter, hint := ratesIn(kind, from, until)
	cursor, err := s.rates.Find(ctx, filter, options.Find().SetHint(hint).SetSort(expr.Descending("at")).SetLimit(MostRates))
	if err != nil {
		return nil, failed(err, doing)
	}
	var found []rateDocument
	if err := cursor.All(ctx, &found); err != nil {
		return nil, failed(err, doing)
	}
	minutes := make([]outbox.RateMinute, len(found))
	for i, doc := range found {
		m := outbox.RateMinute{Minute: doc.ID.Minute.UTC(), Kind: doc.ID.Kind}
		for name, n := range rateFields(&m.RateCounters) {
			*n = doc.Counters[name]
		}
		for place := range m.Took {
			m.Took[place] = doc.Took[strconv.Itoa(place)]
		}
		minutes[i] = m
	}
	sortRates(minutes)
	return minutes, nil
}

// ratesIn matches minutes of a kind, or of all, and names the index that has them.
func ratesIn(kind string, from, until time.Time) (filter bson.D, hint string) {
	filter = bson.D{{Key: "at", Value: bson.D{{Key: "$gte", Value: from.UTC().Truncate(time.Minute)}, {Key: "$lt", Value: until}}}}
	if kind == "" {
		return filter, indexTTL
	}
	return append(filter, bson.E{Key: "_id.k", Value: kind}), indexRatesKind
}

func sortRates(list []outbox.RateMinute) {
	slices.SortFunc(list, func(a, b outbox.RateMinute) int {
		return cmp.Or(a.Minute.Compare(b.Minute), cmp.Compare(a.Kind, b.Kind))
	})
}
