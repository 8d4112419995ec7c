package store

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/store/internal/expr"
)

// groupsAtOnce bounds how many groups one view reads at the same time.
const groupsAtOnce = 8

// groupKey is where a group stands in the index of groups.
type groupKey struct {
	kind, reason, code, providerCode bson.RawValue

	newest bson.Raw // the dead_at and _id of its first entry, as they were when it was found
}

// groupFields are the fields of a [groupKey], in the order of the index.
var groupFields = [...]string{"kind", "dead_reason", "last_error.code", "last_error.provider_code"}

func (k groupKey) values() [4]bson.RawValue {
	return [...]bson.RawValue{k.kind, k.reason, k.code, k.providerCode}
}

// at returns a place in the index. Within a group the newest come first, so that it begins with MaxKey.
func (k groupKey) at(deadAt, id any) bson.D {
	d := make(bson.D, 0, len(groupFields)+2)
	for i, v := range k.values() {
		d = append(d, bson.E{Key: groupFields[i], Value: v})
	}
	return append(d, bson.E{Key: "dead_at", Value: deadAt}, bson.E{Key: "_id", Value: id})
}

// filter matches the group's letters. The index has dead letters alone: to ask for their status as well would fetch
// each document. The range of dead_at tells the server that the index is enough.
func (k groupKey) filter() bson.D {
	d := make(bson.D, 0, len(groupFields)+1)
	for i, v := range k.values() {
		d = append(d, bson.E{Key: groupFields[i], Value: equal(v)})
	}
	return append(d, bson.E{Key: "dead_at", Value: expr.Gte(earliest)})
}

// oldestFirst is the index of groups read from its end.
var oldestFirst = append(expr.Descending(groupFields[:]...), expr.Fields("dead_at", "_id")...)

// edge returns the dead_at and _id of a group's newest or oldest letter, from the index alone.
func (d *Desk) edge(ctx context.Context, key groupKey, oldest bool) (bson.Raw, error) {
	o := options.FindOne().SetHint(indexDeadGroups).SetMin(key.at(latestDate, bson.MaxKey{})).SetMax(key.at(earliest, bson.MinKey{})).
		SetProjection(expr.Fields("dead_at"))
	if oldest {
		o.SetSort(oldestFirst)
	}
	return d.intents.FindOne(ctx, bson.D{}, o).Raw()
}

// groupKeys returns the groups that there are: one seek for each.
func (d *Desk) groupKeys(ctx context.Context, kind string) ([]groupKey, error) {
	var keys []groupKey
	first, last := any(bson.MinKey{}), any(bson.MaxKey{})
	from := bson.D{{Key: groupFields[0], Value: first}, {Key: groupFields[1], Value: first}, {Key: groupFields[2], Value: first}, {Key: groupFields[3], Value: first},
		{Key: "dead_at", Value: last}, {Key: "_id", Value: last}}
	until := bson.D{{Key: groupFields[0], Value: last}, {Key: groupFields[1], Value: last}, {Key: groupFields[2], Value: last}, {Key: groupFields[3], Value: last},
		{Key: "dead_at", Value: first}, {Key: "_id", Value: first}}
	if kind != "" {
		from[0].Value, until[0].Value = kind, kind
	}
	covered := append(expr.Fields(groupFields[:]...), expr.Fields("dead_at")...)
	for len(keys) < MostGroups {
		raw, err := d.intents.FindOne(ctx, bson.D{}, options.FindOne().SetHint(indexDeadGroups).SetMin(from).SetMax(until).SetProjection(covered)).Raw()
		if errors.Is(err, mongo.ErrNoDocuments) {
			return keys, nil
		}
		if err != nil {
			return nil, err
		}
		key := groupKey{kind: valueAt(raw, "kind"), reason: valueAt(raw, "dead_reason"), code: valueAt(raw, "last_error", "code"),
			providerCode: valueAt(raw, "last_error", "provider_code"), newest: raw}
		keys = append(keys, key)
		from = key.at(bson.MinKey{}, bson.MinKey{})
	}
	return keys, nil
}

// eachGroup calls do for each group, for a few at the same time. It returns the first error, which ends the others.
func eachGroup(ctx context.Context, keys []groupKey, do func(ctx context.Context, i int) error) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	var begun atomic.Int64
	var readers sync.WaitGroup
	for range min(groupsAtOnce, len(keys)) {
		readers.Go(func() {
			for ctx.Err() == nil {
				i := int(begun.Add(1)) - 1
				if i >= len(keys) {
					return
				}
				if err := do(ctx, i); err != nil {
					end(err)
				}
			}
		})
	}
	readers.Wait()
	return context.Cause(ctx)
}

// valueAt returns a value as an index holds it: null where there is none.
func valueAt(raw bson.Raw, path ...string) bson.RawValue {
	v, err := raw.LookupErr(path...)
	if err != nil {
		return bson.RawValue{Type: bson.TypeNull}
	}
	return clone(v)
}

// clone keeps a value without the document that it stands in.
func clone(v bson.RawValue) bson.RawValue {
	return bson.RawValue{Type: v.Type, Value: append([]byte(nil), v.Value...)}
}
