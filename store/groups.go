package store

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/outbox"
)

// MostGroups bounds how many groups of dead letters are looked at.
const MostGroups = 1000

// queryTime bounds a query that a person waits for.
const queryTime = 2 * time.Second

// Groups returns the groups of dead letters of a kind, of all kinds if it is empty. It reads at most so many entries of
// a group as [outbox.GroupCap] says, and no document.
func (d *Desk) Groups(ctx context.Context, kind string) ([]outbox.Group, error) {
	const doing = "group the dead letters"
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	keys, err := d.groupKeys(ctx, kind)
	if err != nil {
		return nil, failed(err, doing)
	}
	groups := make([]outbox.Group, len(keys))
	err = eachGroup(ctx, keys, func(ctx context.Context, i int) (err error) {
		groups[i], err = d.group(ctx, keys[i])
		return err
	})
	if err != nil {
		return nil, failed(err, doing)
	}
	return slices.DeleteFunc(groups, func(g outbox.Group) bool { return g.Last.IsZero() }), nil
}

// group reads a group. Its Last is zero if there is none any more.
func (d *Desk) group(ctx context.Context, key groupKey) (g outbox.Group, err error) {
	newest := key.newest
	if newest.Lookup("dead_at").Type != bson.TypeDateTime { // no worker wrote it
		newest, err = d.edge(ctx, key, false)
	}
	var oldest bson.Raw
	if err == nil {
		oldest, err = d.edge(ctx, key, true)
	}
	if errors.Is(err, mongo.ErrNoDocuments) { // it is no longer there
		return outbox.Group{}, nil
	}
	if err != nil {
		return outbox.Group{}, err
	}
	n, err := d.intents.CountDocuments(ctx, key.filter(), options.Count().SetHint(indexDeadGroups).SetLimit(outbox.GroupCap+1))
	if err != nil {
		return outbox.Group{}, err
	}
	doc, err := decode(newest)
	if err != nil {
		return outbox.Group{}, err
	}
	return outbox.Group{
		Kind: textIn(key.kind), Reason: outbox.DeadReason(textIn(key.reason)), Code: textIn(key.code), ProviderCode: textIn(key.providerCode),
		Count: outbox.Count{N: min(n, outbox.GroupCap), Capped: n > outbox.GroupCap},
		First: oldest.Lookup("dead_at").Time().UTC(), Last: newest.Lookup("dead_at").Time().UTC(), Example: idIn(doc),
	}, nil
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
