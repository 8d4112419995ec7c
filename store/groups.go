package store

import (
	"context"
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store/internal/expr"
)

// MostGroups bounds how many groups of dead letters are looked at.
const MostGroups = 1000

// queryTime bounds a query that a person waits for.
const queryTime = 2 * time.Second

// groupKey is where a group stands in the index of groups.
type groupKey struct{ kind, reason, code, providerCode bson.RawValue }

// groupFields are the fields of a [groupKey], in the order of the index.
var groupFields = [...]string{"kind", "dead_reason", "last_error.code", "last_error.provider_code"}

func (k groupKey) values() [4]bson.RawValue {
	return [...]bson.RawValue{k.kind, k.reason, k.code, k.providerCode}
}

// bounds returns where the group begins or ends in the index: the newest come first, so that it begins with MaxKey.
func (k groupKey) bounds(deadAt any) bson.D {
	d := make(bson.D, 0, len(groupFields)+2)
	for i, v := range k.values() {
		d = append(d, bson.E{Key: groupFields[i], Value: v})
	}
	return append(d, bson.E{Key: "dead_at", Value: deadAt}, bson.E{Key: "_id", Value: deadAt})
}

// filter matches the group's letters that died from since to until.
func (k groupKey) filter(since, until any) bson.D {
	d := make(bson.D, 0, len(groupFields)+2)
	for i, v := range k.values() {
		d = append(d, bson.E{Key: groupFields[i], Value: equal(v)})
	}
	return append(d, bson.E{Key: "dead_at", Value: bson.D{{Key: "$gte", Value: since}, {Key: "$lte", Value: until}}}, bson.E{Key: "status", Value: outbox.StatusDead})
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
	for len(keys) < MostGroups {
		raw, err := d.intents.FindOne(ctx, bson.D{}, options.FindOne().SetHint(indexDeadGroups).SetMin(from).SetMax(until).
			SetProjection(bson.D{{Key: "_id", Value: 0}, {Key: "kind", Value: 1}, {Key: "dead_reason", Value: 1}, {Key: "last_error.code", Value: 1}, {Key: "last_error.provider_code", Value: 1}})).Raw()
		if errors.Is(err, mongo.ErrNoDocuments) {
			return keys, nil
		}
		if err != nil {
			return nil, err
		}
		key := groupKey{kind: valueAt(raw, "kind"), reason: valueAt(raw, "dead_reason"), code: valueAt(raw, "last_error", "code"),
			providerCode: valueAt(raw, "last_error", "provider_code")}
		keys = append(keys, key)
		from = key.bounds(bson.MinKey{})
	}
	return keys, nil
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

// Groups returns the groups of dead letters of a kind, of all kinds if it is empty. It reads at most so many entries of
// a group as [outbox.GroupCap] says.
func (d *Desk) Groups(ctx context.Context, kind string) ([]outbox.Group, error) {
	const doing = "group the dead letters"
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	keys, err := d.groupKeys(ctx, kind)
	if err != nil {
		return nil, failed(err, doing)
	}
	groups := make([]outbox.Group, 0, len(keys))
	for _, key := range keys {
		g := outbox.Group{Kind: textIn(key.kind), Reason: outbox.DeadReason(textIn(key.reason)), Code: textIn(key.code), ProviderCode: textIn(key.providerCode)}
		for _, order := range []int{-1, 1} {
			raw, err := d.intents.FindOne(ctx, key.filter(earliest, latestDate), options.FindOne().SetHint(indexDeadGroups).
				SetSort(bson.D{{Key: "dead_at", Value: order}, {Key: "_id", Value: order}}).
				SetProjection(expr.Fields("dead_at"))).Raw()
			if errors.Is(err, mongo.ErrNoDocuments) { // it is no longer there
				continue
			}
			if err != nil {
				return nil, failed(err, doing)
			}
			at, _ := raw.Lookup("dead_at").TimeOK()
			if order == 1 {
				g.First = at.UTC()
				continue
			}
			g.Last = at.UTC()
			doc, err := decode(raw)
			if err != nil {
				return nil, failed(err, doing)
			}
			g.Example = idIn(doc)
		}
		if g.Last.IsZero() {
			continue
		}
		n, err := d.intents.CountDocuments(ctx, key.filter(earliest, latestDate), options.Count().SetHint(indexDeadGroups).SetLimit(outbox.GroupCap+1))
		if err != nil {
			return nil, failed(err, doing)
		}
		g.Count = outbox.Count{N: min(n, outbox.GroupCap), Capped: n > outbox.GroupCap}
		groups = append(groups, g)
	}
	return groups, nil
}

// idIn returns the _id of a document, zero if it is none of the contract's.
func idIn(doc map[string]any) outbox.ID {
	switch id := doc["_id"].(type) {
	case outbox.ID:
		return id
	case string:
		return outbox.NewStringID(id)
	default:
		return outbox.ID{}
	}
}

// textIn returns a string, empty if it is none. Some providers' codes are numbers.
func textIn(v bson.RawValue) string {
	if text, ok := v.StringValueOK(); ok {
		return text
	}
	if v.Type == bson.TypeNull || v.Type == 0 {
		return ""
	}
	return v.String()
}
