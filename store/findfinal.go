package store

import (
	"context"
	"errors"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/store/internal/expr"
)

// doneWindows are how many index entries a page of what is done reads: the first window does for nearly all pages, and
// the second for what is rare. Behind it the page ends, full or not.
var doneWindows = [...]int64{500, 4500}

// cancelled finds what was cancelled, the newest first. Of all kinds it asks each for its newest.
func (f finder) cancelled(ctx context.Context) ([]bson.Raw, func(bson.Raw) cursor, error) {
	end := func(raw bson.Raw) cursor { return cursor{Key: valueAt(raw, "cancelled_at"), ID: raw.Lookup("_id")} }
	kinds := []string{f.Kind}
	if f.Kind == "" {
		var err error
		if kinds, err = f.kinds(ctx, indexCancelled); err != nil {
			return nil, nil, err
		}
	}
	bound := func(kind string, at, id any) bson.D {
		return bson.D{{Key: "kind", Value: kind}, {Key: "cancelled_at", Value: at}, {Key: "_id", Value: id}}
	}
	firstAt, firstID, lastAt := any(bson.MaxKey{}), any(bson.MaxKey{}), any(bson.MinKey{})
	if f.more {
		firstAt, firstID = f.after.Key, f.after.ID
		f.Limit++ // the last row of the page before comes again
	}
	if !f.Since.IsZero() {
		lastAt = bson.NewDateTimeFromTime(f.Since)
	}
	var all []bson.Raw
	for _, kind := range kinds {
		raws, err := f.read(ctx, bson.D{}, options.Find().SetHint(indexCancelled).
			SetMin(bound(kind, firstAt, firstID)).SetMax(bound(kind, lastAt, bson.MinKey{})))
		if err != nil {
			return nil, nil, err
		}
		all = f.merged(all, raws, "cancelled_at")
	}
	if f.more {
		if len(all) > 0 && all[0].Lookup("_id").Equal(f.after.ID) {
			all = all[1:]
		}
		all = all[:min(len(all), f.Limit)]
	}
	return all, end, nil
}

// kinds returns the kinds that an index holds: one seek for each.
func (f finder) kinds(ctx context.Context, index string) ([]string, error) {
	var kinds []string
	for kind := ""; len(kinds) < mostKinds; kinds = append(kinds, kind) {
		var err error
		if kind, err = f.kindAfter(ctx, index, kind); errors.Is(err, mongo.ErrNoDocuments) {
			return kinds, nil
		} else if err != nil {
			return nil, err
		}
	}
	return kinds, nil
}

// done finds what is done, the last to be deleted first: nearly always the newest. The index tells neither the status
// nor the kind, so one page reads a bounded part of it. rest is where to go on after a page that is not full; nil where
// nothing is left. The index has no _id either, so a page counts how many of its last instant came before.
func (f finder) done(ctx context.Context) (all []bson.Raw, end func(bson.Raw) cursor, rest *cursor, err error) {
	least, most, skip := any(earliest), any(latestDate), int64(0)
	if f.more {
		most, skip = f.after.Key, f.after.Same
	}
	filter := f.also()
	if !f.Since.IsZero() { // what ended since then is not deleted before it ended
		least = bson.NewDateTimeFromTime(f.Since)
		filter = append(filter, bson.E{Key: "done_at", Value: expr.Gte(least)})
	}
	for _, window := range doneWindows {
		floor, more, err := f.floor(ctx, least, most, skip+window)
		if err != nil {
			return nil, nil, nil, err
		}
		within := bson.D{{Key: "$lte", Value: most}, {Key: "$gte", Value: least}}
		rest = nil
		if more {
			within[1] = bson.E{Key: "$gt", Value: floor}
			rest = &cursor{Key: floor, ID: bson.RawValue{Type: bson.TypeNull}}
		}
		raws, err := f.read(ctx, append(filter[:len(filter):len(filter)], bson.E{Key: "purge_at", Value: within}),
			options.Find().SetHint(indexTTL).SetSort(expr.Descending("purge_at")).SetSkip(skip))
		if err != nil {
			return nil, nil, nil, err
		}
		if all = append(all, raws...); len(all) > f.Limit || !more {
			break
		}
		most, skip = floor, 0
	}
	end = func(last bson.Raw) cursor {
		c := cursor{Key: last.Lookup("purge_at"), ID: last.Lookup("_id")}
		for _, raw := range all[:f.Limit] {
			if raw.Lookup("purge_at").Equal(c.Key) {
				c.Same++
			}
		}
		if f.more && c.Key.Equal(f.after.Key) {
			c.Same += f.after.Same
		}
		return c
	}
	return all, end, rest, nil
}

// floor returns the purge_at of the index entry that stands n behind the greatest one, from least to most. If all of
// these are of one instant, it is the next one before. more is false if there is none.
func (f finder) floor(ctx context.Context, least, most any, n int64) (floor bson.RawValue, more bool, err error) {
	ask := func(most bson.E, skip int64) (bson.RawValue, error) {
		raw, err := f.intents.FindOne(ctx, bson.D{{Key: "purge_at", Value: bson.D{most, {Key: "$gte", Value: least}}}}, options.FindOne().SetHint(indexTTL).
			SetSort(expr.Descending("purge_at")).SetSkip(skip).SetProjection(bson.D{{Key: "_id", Value: 0}, {Key: "purge_at", Value: 1}})).Raw()
		return raw.Lookup("purge_at"), err
	}
	first, err := ask(bson.E{Key: "$lte", Value: most}, 0)
	if err == nil {
		floor, err = ask(bson.E{Key: "$lte", Value: most}, n)
	}
	if err == nil && floor.Equal(first) {
		floor, err = ask(bson.E{Key: "$lt", Value: first}, 0)
	}
	if errors.Is(err, mongo.ErrNoDocuments) {
		return floor, false, nil
	}
	return floor, err == nil, err
}
