package store

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store/internal/expr"
)

// actDocument is a record of the audit as it stands in the database.
type actDocument struct {
	ID      bson.ObjectID `bson:"_id"`
	At      time.Time     `bson:"at"`
	PurgeAt *time.Time    `bson:"purge_at,omitempty"`
	Who     string        `bson:"who"`
	Via     string        `bson:"via,omitempty"`
	Roles   []string      `bson:"roles,omitempty"`
	From    string        `bson:"from,omitempty"`
	Op      string        `bson:"op"`
	On      string        `bson:"on,omitempty"`
	Why     string        `bson:"why,omitempty"`
	Before  string        `bson:"before,omitempty"`
	After   string        `bson:"after,omitempty"`
	Outcome string        `bson:"outcome"`
	Code    string        `bson:"code,omitempty"`
	Job     string        `bson:"job,omitempty"`
	Request string        `bson:"request,omitempty"`
}

func (doc actDocument) act() outbox.Act {
	return outbox.Act{ID: doc.ID.Hex(), At: doc.At.UTC(), Who: doc.Who, Via: doc.Via, Roles: doc.Roles, From: doc.From, Op: doc.Op, On: doc.On,
		Why: doc.Why, Before: doc.Before, After: doc.After, Outcome: doc.Outcome, Code: doc.Code, Job: doc.Job, Request: doc.Request}
}

// Begin records acts before they are carried out. It returns once a majority has them, with their IDs and instants.
func (d *Desk) Begin(ctx context.Context, acts ...outbox.Act) ([]outbox.Act, error) {
	const doing = "record in the audit what is about to be done"
	ctx, cancel := d.bound(ctx)
	defer cancel()
	if len(acts) == 0 {
		return nil, nil
	}
	now, err := d.freshNow(ctx)
	if err != nil {
		return nil, failed(err, doing)
	}
	begun, docs := make([]outbox.Act, len(acts)), make([]any, len(acts))
	for i, a := range acts {
		doc := actDocument{bson.NewObjectIDFromTimestamp(now), now, nil, a.Who, a.Via, a.Roles, a.From, a.Op, a.On, a.Why, a.Before, a.After, a.Outcome, a.Code, a.Job, a.Request}
		if d.kept > 0 {
			until := now.Add(d.kept)
			doc.PurgeAt = &until
		}
		begun[i], docs[i] = doc.act(), doc
	}
	_, err = d.audit.InsertMany(ctx, docs)
	return begun, failed(err, doing)
}

// End records how acts ended: After, Outcome and Code.
func (d *Desk) End(ctx context.Context, acts ...outbox.Act) error {
	const doing = "record in the audit how it ended"
	ctx, cancel := d.bound(ctx)
	defer cancel()
	var models []mongo.WriteModel
	for _, a := range acts {
		id, err := bson.ObjectIDFromHex(a.ID)
		if err != nil {
			return fmt.Errorf("%s: %w", doing, err)
		}
		set := append(bson.D{{Key: "outcome", Value: a.Outcome}}, texts(bson.E{Key: "after", Value: a.After}, bson.E{Key: "code", Value: a.Code})...)
		models = append(models, mongo.NewUpdateOneModel().SetFilter(bson.D{{Key: "_id", Value: id}}).SetUpdate(expr.Set(set)))
	}
	if len(models) == 0 {
		return nil
	}
	_, err := d.audit.BulkWrite(ctx, models, options.BulkWrite().SetOrdered(false))
	return failed(err, doing)
}

// Acts returns records of the audit, the newest first.
func (d *Desk) Acts(ctx context.Context, f outbox.ActFilter) ([]outbox.Act, error) {
	const doing = "read the audit"
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	filter := bson.D{}
	for _, e := range texts(bson.E{Key: "on", Value: f.On}, bson.E{Key: "job", Value: f.Job}, bson.E{Key: "who", Value: f.Who}, bson.E{Key: "op", Value: f.Op}) {
		filter = append(filter, bson.E{Key: e.Key, Value: equal(e.Value)})
	}
	if !f.Since.IsZero() {
		filter = append(filter, bson.E{Key: "at", Value: expr.Gte(f.Since)})
	}
	if f.Before != "" {
		id, err := bson.ObjectIDFromHex(f.Before)
		if err != nil {
			return nil, ErrCursor
		}
		filter = append(filter, bson.E{Key: "_id", Value: expr.Lt(id)})
	}
	limit := min(cmp.Or(max(0, f.Limit), defaultPage), mostPage)
	c, err := d.audit.Find(ctx, filter, options.Find().SetSort(expr.Descending("_id")).SetLimit(int64(limit)))
	if err != nil {
		return nil, failed(err, doing)
	}
	var docs []actDocument
	if err := c.All(ctx, &docs); err != nil {
		return nil, failed(err, doing)
	}
	acts := make([]outbox.Act, len(docs))
	for i, doc := range docs {
		acts[i] = doc.act()
	}
	return acts, nil
}
