package store

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store/internal/expr"
)

// deadCursor returns where a page of dead letters ends.
func deadCursor(raw bson.Raw) cursor {
	return cursor{Key: raw.Lookup("dead_at"), ID: raw.Lookup("_id")}
}

// dead finds dead letters, the newest first. Of kind, reason and codes it asks each group for its newest.
func (f finder) dead(ctx context.Context) ([]bson.Raw, func(bson.Raw) cursor, error) {
	since, until := earliest, latestDate
	if !f.Since.IsZero() {
		since = bson.NewDateTimeFromTime(f.Since)
	}
	if !f.Until.IsZero() {
		until = bson.NewDateTimeFromTime(f.Until)
	}
	var past bson.D
	if f.more {
		at, ok := f.after.Key.DateTimeOK()
		if !ok {
			return nil, nil, ErrCursor
		}
		until = bson.DateTime(at)
		past = expr.Or(bson.D{{Key: "dead_at", Value: expr.Lt(until)}}, bson.D{expr.Expr(expr.Lt("$_id", expr.Literal(f.after.ID)))})
	}
	if f.Kind == "" && f.Reason == "" && f.Code == "" && f.ProviderCode == "" {
		filter := bson.D{{Key: "dead_at", Value: bson.D{{Key: "$gte", Value: since}, {Key: "$lte", Value: until}}}, {Key: "status", Value: outbox.StatusDead}}
		raws, err := f.read(ctx, append(filter, past...), options.Find().SetHint(indexDead).SetSort(expr.Descending("dead_at", "_id")))
		return raws, deadCursor, err
	}
	if until < since {
		return nil, deadCursor, nil
	}
	keys, err := f.groupKeys(ctx, f.Kind)
	if err != nil {
		return nil, nil, err
	}
	keys = slices.DeleteFunc(keys, func(k groupKey) bool {
		fits := func(want string, have bson.RawValue) bool { return want == "" || want == textIn(have) }
		return !fits(string(f.Reason), k.reason) || !fits(f.Code, k.code) || !fits(f.ProviderCode, k.providerCode)
	})
	raws, err := f.deadIn(ctx, keys, since, until)
	return raws, deadCursor, err
}

// deadIn finds the newest dead letters of groups. It chooses them by index entries alone, and then reads their
// documents. Some may be no dead letters any more by then, so that it goes on until a page is full.
func (f finder) deadIn(ctx context.Context, keys []groupKey, since, until bson.DateTime) ([]bson.Raw, error) {
	var found []bson.Raw
	for {
		entries, err := f.newestOf(ctx, keys, since, until)
		if err != nil {
			return nil, err
		}
		raws, err := f.deadAmong(ctx, entries)
		if err != nil {
			return nil, err
		}
		found = append(found, raws...)
		if len(entries) <= f.Limit || len(found) > f.Limit {
			return found[:min(len(found), f.Limit+1)], nil
		}
		f.after, f.more = deadCursor(entries[f.Limit]), true
		until = bson.DateTime(f.after.Key.DateTime())
	}
}

// newestOf returns the dead_at and _id of the newest dead letters of groups after the cursor.
func (f finder) newestOf(ctx context.Context, keys []groupKey, since, until bson.DateTime) ([]bson.Raw, error) {
	first, one := any(bson.MaxKey{}), f
	if f.more {
		first = f.after.ID
		one.Limit++ // the last row of the page before comes again
	}
	groups := make([][]bson.Raw, len(keys))
	err := eachGroup(ctx, keys, func(ctx context.Context, i int) (err error) {
		groups[i], err = one.read(ctx, bson.D{}, options.Find().SetHint(indexDeadGroups).SetMin(keys[i].at(until, first)).
			SetMax(keys[i].at(since, bson.MinKey{})).SetProjection(expr.Fields("dead_at")))
		return err
	})
	if err != nil {
		return nil, err
	}
	all := slices.Concat(groups...)
	if f.more {
		all = slices.DeleteFunc(all, func(raw bson.Raw) bool {
			at, _ := raw.Lookup("dead_at").DateTimeOK()
			return bson.DateTime(at) == until && raw.Lookup("_id").Equal(f.after.ID)
		})
	}
	slices.SortStableFunc(all, func(a, b bson.Raw) int {
		x, _ := a.Lookup("dead_at").DateTimeOK()
		y, _ := b.Lookup("dead_at").DateTimeOK()
		return cmp.Or(cmp.Compare(y, x), compareIDs(b.Lookup("_id"), a.Lookup("_id")))
	})
	return all[:min(len(all), f.Limit+1)], nil
}

// deadAmong returns the documents of those index entries that still are what is there, in their order.
func (f finder) deadAmong(ctx context.Context, entries []bson.Raw) ([]bson.Raw, error) {
	if len(entries) == 0 {
		return nil, nil
	}
	place := make(map[string]int, len(entries))
	ids := make(bson.A, len(entries))
	nameOf := func(id bson.RawValue) string { return string(append([]byte{byte(id.Type)}, id.Value...)) }
	for i, e := range entries {
		id := e.Lookup("_id")
		ids[i], place[nameOf(id)] = id, i
	}
	raws, err := f.read(ctx, bson.D{{Key: "_id", Value: expr.In(ids)}, {Key: "status", Value: outbox.StatusDead}},
		options.Find().SetHint(expr.Fields("_id")))
	if err != nil {
		return nil, err
	}
	ordered := make([]bson.Raw, len(entries))
	for _, raw := range raws {
		if i := place[nameOf(raw.Lookup("_id"))]; raw.Lookup("dead_at").Equal(entries[i].Lookup("dead_at")) {
			ordered[i] = raw
		}
	}
	return slices.DeleteFunc(ordered, func(raw bson.Raw) bool { return raw == nil }), nil
}

// compareIDs orders two _ids as the database does, as far as they are of the types that the contract allows.
func compareIDs(a, b bson.RawValue) int {
	rank := func(v bson.RawValue) int {
		return slices.Index([]bson.Type{bson.TypeString, bson.TypeEmbeddedDocument, bson.TypeArray, bson.TypeBinary, bson.TypeObjectID}, v.Type)
	}
	if c := cmp.Compare(rank(a), rank(b)); c != 0 {
		return c
	}
	if x, ok := a.StringValueOK(); ok {
		return cmp.Compare(x, b.StringValue())
	}
	return bytes.Compare(a.Value, b.Value)
}
