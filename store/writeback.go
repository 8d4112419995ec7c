package store

import (
	"context"
	"errors"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store/internal/expr"
)

// writeBack updates the rows' business documents. Values are literal and names are paths, as $set has them.
func (s *Store) writeBack(ctx context.Context, rows []*row) (*setback, error) {
	byCollection := make(map[string][]*row)
	for _, r := range rows {
		if r.update != nil {
			byCollection[r.update.Collection] = append(byCollection[r.update.Collection], r)
		}
	}
	for name, rows := range byCollection {
		if stop, err := s.writeBackTo(ctx, s.db.Collection(name), rows); stop != nil || err != nil {
			return stop, err
		}
	}
	return nil, nil
}

// writeBackTo updates documents of one collection. An update that is refused, or has no document, is dropped, and the
// transaction tried again.
func (s *Store) writeBackTo(ctx context.Context, target *mongo.Collection, rows []*row) (*setback, error) {
	models := make([]mongo.WriteModel, len(rows))
	for i, r := range rows {
		models[i] = mongo.NewUpdateOneModel().SetFilter(identity(r.update.ID)).SetUpdate(expr.Set(encodeDocument(r.update.Set)))
	}
	drop := func(r *row, note string, why error) *setback {
		r.update = nil
		r.note(outbox.CodeWriteBackMissed, note)
		return &setback{retry: true, why: why}
	}
	result, err := target.BulkWrite(ctx, models, options.BulkWrite().SetOrdered(true))
	if at, ok, why := refusedAt(err); ok {
		return drop(rows[at], "write_back was not made: "+reason(why), why), nil
	}
	if err != nil {
		if refusal(err) && len(rows) == 1 { // such as a collection that the worker may not write to
			return drop(rows[0], "write_back was not made: "+reason(err), err), nil
		}
		return held(err, false, rows)
	}
	if result.MatchedCount == int64(len(rows)) {
		return nil, nil
	}
	var missed *setback
	for _, r := range rows {
		switch err := target.FindOne(ctx, identity(r.update.ID), options.FindOne().SetProjection(expr.Fields("_id"))).Err(); {
		case errors.Is(err, mongo.ErrNoDocuments):
			missed = drop(r, outbox.UpdateMissed(r.update.Update), err)
		case err != nil:
			return held(err, false, []*row{r})
		}
	}
	return missed, nil
}
