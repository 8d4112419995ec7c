package store

import (
	"cmp"
	"context"
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store/internal/expr"
	"github.com/outboxd/outboxd/store/internal/scan"
)

// Remaining is what is left of one kind.
type Remaining struct {
	Kind   string
	Due    int64 // pending and due now
	Leased int64 // by any worker
	Soon   int64 // pending and due within the time asked for
	Later  int64 // pending and due after that
}

// Empty reports whether nothing is due, leased, or due soon.
func (r Remaining) Empty() bool { return r.Due == 0 && r.Leased == 0 && r.Soon == 0 }

// Remaining counts what is left of the kinds, one entry for each in their order; within says for each what soon is, 0
// without an entry. All of it is of one instant: a follow-up that comes into a kind while another is counted is not
// missed. It reads all that wait, so it is for the end of a queue, not for its middle.
func (s *Store) Remaining(ctx context.Context, kinds []string, within map[string]time.Duration) ([]Remaining, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	const doing = "count what remains"
	count := func(condition any) bson.D {
		return bson.D{{Key: "$sum", Value: expr.Cond(condition, 1, 0)}}
	}
	leased := expr.Eq("$status", outbox.StatusLeased)
	dueBy := func(at any) bson.D { return expr.Lte("$due_at", at) }
	var soon any = "$$NOW"
	for kind, d := range within {
		soon = expr.Cond(expr.Eq("$kind", expr.Literal(kind)), fromNow(max(0, d)), soon)
	}
	pending := func(conditions ...any) bson.D {
		return bson.D{{Key: "$and", Value: append(bson.A{expr.Ne("$status", outbox.StatusLeased)}, conditions...)}}
	}
	not := func(condition any) bson.D { return bson.D{{Key: "$not", Value: bson.A{condition}}} }
	cursor, err := s.intents.Clone(options.Collection().SetReadConcern(readconcern.Snapshot())).Aggregate(ctx, mongo.Pipeline{
		expr.Match(bson.D{{Key: "kind", Value: expr.In(append([]string{}, kinds...))}, {Key: "due_at", Value: expr.Gte(earliest)}}),
		expr.Group(bson.D{
			{Key: "_id", Value: "$kind"},
			{Key: "leased", Value: count(leased)},
			{Key: "due", Value: count(pending(dueBy("$$NOW")))},
			{Key: "soon", Value: count(pending(not(dueBy("$$NOW")), dueBy(soon)))},
			{Key: "later", Value: count(pending(not(dueBy(soon))))},
		}),
	}, options.Aggregate().SetHint(indexClaim))
	if err != nil {
		return nil, failed(err, doing)
	}
	var found []struct {
		Kind                     string `bson:"_id"`
		Due, Leased, Soon, Later int64
	}
	if err := cursor.All(ctx, &found); err != nil {
		return nil, failed(err, doing)
	}
	remaining := make([]Remaining, len(kinds))
	for i, kind := range kinds {
		remaining[i].Kind = kind
		for _, f := range found {
			if f.Kind == kind {
				remaining[i] = Remaining{Kind: kind, Due: f.Due, Leased: f.Leased, Soon: f.Soon, Later: f.Later}
			}
		}
	}
	return remaining, nil
}

// Waiting is what of one kind is settled but for its consequences.
type Waiting struct {
	N   int64
	Age time.Duration // since the oldest of them waits
}

// mostWaiting bounds how many intents are counted whose consequences wait.
const mostWaiting = 10_000

// Waiting counts, by kind, the intents whose outcome is recorded while their consequences cannot be written, and tells
// since when. It reads entries of an index that is normally empty, ten thousand at most.
func (s *Store) Waiting(ctx context.Context) (map[string]Waiting, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	const doing = "count the consequences that wait"
	now, err := s.freshNow(ctx)
	if err != nil {
		return nil, failed(err, doing)
	}
	bounds := func(due, rest any) bson.D {
		return bson.D{{Key: "due_at", Value: due}, {Key: "kind", Value: rest}, {Key: "outcome.at", Value: rest}, {Key: "_id", Value: rest}}
	}
	cursor, err := s.hints.Find(ctx, bson.D{}, options.Find().SetHint(indexRecorded).
		SetMin(bounds(earliest, bson.MinKey{})).SetMax(bounds(bson.MaxKey{}, bson.MaxKey{})).
		SetProjection(bson.D{{Key: "_id", Value: 0}, {Key: "kind", Value: 1}, {Key: "outcome.at", Value: 1}}).
		SetLimit(mostWaiting))
	if err != nil {
		return nil, failed(err, doing)
	}
	defer cursor.Close(context.WithoutCancel(ctx))
	waiting := make(map[string]Waiting)
	for cursor.Next(ctx) {
		kind, _ := cursor.Current.Lookup("kind").StringValueOK()
		w := waiting[kind]
		w.N++
		if at, ok := cursor.Current.Lookup("outcome", "at").DateTimeOK(); ok {
			w.Age = max(w.Age, now.Sub(bson.DateTime(at).Time()))
		}
		waiting[kind] = w
	}
	return waiting, failed(cursor.Err(), doing)
}

// mostKinds bounds how many kinds are looked at: a producer that makes up kinds must not make each look an endless one.
const mostKinds = 200

// Oldest returns, for each kind with something due, whether a worker serves it or not, how long its oldest has waited.
// A lease that ran out counts from its end. It takes a few seeks in the claim index for each kind, whatever waits
// there.
func (s *Store) Oldest(ctx context.Context) (map[string]time.Duration, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	const doing = "find what has waited longest"
	now, err := s.freshNow(ctx)
	if err != nil {
		return nil, failed(err, doing)
	}
	ages := make(map[string]time.Duration)
	for kind := ""; len(ages) < mostKinds; {
		next, err := s.kindAfter(ctx, indexClaim, kind)
		if errors.Is(err, mongo.ErrNoDocuments) {
			return ages, nil
		}
		if err != nil {
			return nil, failed(err, doing)
		}
		kind = next
		due, found, err := s.oldestOf(ctx, kind, earliest, now)
		if err != nil {
			return nil, failed(err, doing)
		}
		if found {
			ages[kind] = now.Sub(due)
		}
	}
	return ages, nil
}

// kindAfter returns the next kind in an index that begins with it: one seek, to behind the last entry of the kind
// before.
func (s *Store) kindAfter(ctx context.Context, index, kind string) (string, error) {
	bounds := func(kind any) bson.D {
		last := any(bson.MaxKey{})
		if index == indexClaim {
			return bson.D{{Key: "kind", Value: kind}, {Key: "priority", Value: last}, {Key: "due_at", Value: last}, {Key: "_id", Value: last}}
		}
		end := bson.MinKey{} // behind everything: the newest come first
		if index == indexCancelled {
			return bson.D{{Key: "kind", Value: kind}, {Key: "cancelled_at", Value: end}, {Key: "_id", Value: end}}
		}
		return bson.D{{Key: "kind", Value: kind}, {Key: "dead_reason", Value: last}, {Key: "last_error.code", Value: last},
			{Key: "last_error.provider_code", Value: last}, {Key: "dead_at", Value: end}, {Key: "_id", Value: end}}
	}
	cursor, err := s.hints.Find(ctx, bson.D{}, options.Find().SetHint(index).
		SetMin(bounds(kind)).SetMax(bounds(bson.D{})). // documents sort after all strings
		SetProjection(bson.D{{Key: "_id", Value: 0}, {Key: "kind", Value: 1}}).SetLimit(1).SetBatchSize(1))
	if err != nil {
		return "", err
	}
	defer cursor.Close(context.WithoutCancel(ctx))
	if !cursor.Next(ctx) {
		return "", cmp.Or(cursor.Err(), mongo.ErrNoDocuments)
	}
	return leastAbove(kind, cursor.Current.Lookup("kind")), nil
}

// leastAbove returns by which kind above the given one an index entry stands: the value itself or, if that is an array,
// the least of its members that qualifies.
func leastAbove(kind string, v bson.RawValue) string {
	members := []bson.RawValue{v}
	if array, ok := v.ArrayOK(); ok {
		members, _ = array.Values()
	}
	least, found := "", false
	for _, m := range members {
		text, ok := m.StringValueOK()
		if !ok {
			text, ok = m.SymbolOK()
		}
		if ok && text > kind && (!found || text < least) {
			least, found = text, true
		}
	}
	if !found { // no entry within the bounds is like that
		return kind + "\x00"
	}
	return least
}

// oldestOf returns the least due_at of a kind over its priorities, from the given instant on.
func (s *Store) oldestOf(ctx context.Context, kind string, from bson.DateTime, now time.Time) (time.Time, bool, error) {
	oldest := scan.Earliest
	for b := range scan.Band(scan.Bands) {
		cursor, err := s.findRange(ctx, kind, scan.Range{Bands: []scan.Band{b}, From: scan.Instant(from), Until: scan.Instant(bson.NewDateTimeFromTime(now)), Limit: 1})
		found, err := read(ctx, cursor, err)
		if err != nil {
			return time.Time{}, false, err
		}
		for _, e := range found { // what is no date has waited for nothing
			if e.Due != scan.Earliest && (oldest == scan.Earliest || e.Due < oldest) {
				oldest = e.Due
			}
		}
	}
	return bson.DateTime(oldest).Time(), oldest != scan.Earliest, nil
}
