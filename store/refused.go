package store

import (
	"context"
	"errors"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store/internal/expr"
)

const (
	// maxDocument is the size of the largest document that MongoDB stores ("MongoDB Limits and Thresholds").
	maxDocument = 16 << 20
	// room is what an intent must leave of that for the fields of the worker: lease, progress, twenty attempts of
	// history, last error, receipt. Without it an effect could be had and its outcome not be written.
	room = 16 << 10
)

// roomless is the problem of a document that is too large to be carried out.
var roomless = outbox.Problem{Path: "document", Text: "is too large; it must leave 16 KiB of the 16 MiB for the worker's own fields"}

// takeEach leases the candidates one by one within one command, for those of which one makes the whole update fail.
// What cannot even be given a lease becomes a dead letter here: it must not stand in the way of what is due after it.
func (s *Store) takeEach(ctx context.Context, ids []bson.RawValue, condition bson.D, lease mongo.Pipeline) error {
	models := make([]mongo.WriteModel, len(ids))
	for i, id := range ids {
		models[i] = mongo.NewUpdateOneModel().SetFilter(one(id, condition)).SetUpdate(lease)
	}
	_, err := s.bulk(ctx, models)
	refused, ok := errors.AsType[mongo.BulkWriteException](err)
	if !ok || refused.WriteConcernError != nil {
		return err
	}
	for _, e := range refused.WriteErrors {
		if err := s.bury(ctx, one(ids[e.Index], condition), e.WriteError); err != nil {
			return err
		}
	}
	return nil
}

// one matches a document by its _id and a condition.
func one(id bson.RawValue, condition bson.D) bson.D {
	return append(bson.D{{Key: "_id", Value: equal(id)}}, condition...)
}

// bury makes a dead letter of a document that cannot be given a lease, with as much about it as the database takes: of
// a document that fills its 16 MiB only its status changes, for which the fields that go make room. Its consequences
// are not carried out. Whoever held a lease that ran out may have called, which the mark tells.
func (s *Store) bury(ctx context.Context, filter bson.D, why error) error {
	const remove = "$$REMOVE"
	failure := &outbox.Failure{Class: outbox.Invalid, Code: outbox.CodeInvalid,
		Message: "the document cannot be given a lease, so it was not sent, and nothing that should follow it was done: " + reason(why)}
	if tooLarge(why) {
		failure.Message = roomless.String() + "; it was not sent, and nothing that should follow it was done"
	}
	var mark any = expr.Cond(expr.Eq("$status", outbox.StatusLeased), expr.IfNull("$ambiguous_at", "$$NOW"), "$ambiguous_at")
	least := bson.D{{Key: "status", Value: outbox.StatusDead}, {Key: "dead_at", Value: "$$NOW"}, {Key: "due_at", Value: remove}, {Key: "lease", Value: remove}, {Key: "ambiguous_at", Value: mark}}
	more := append(least[:len(least):len(least)], bson.E{Key: "dead_reason", Value: outbox.ReasonInvalid})
	most := append(more[:len(more):len(more)], bson.E{Key: "last_error", Value: expr.MergeObjects(expr.Literal(failureDocument(failure)), bson.D{{Key: "at", Value: "$$NOW"}})})
	var err error
	for _, set := range []bson.D{most, more, least} {
		_, err = s.updateMany(ctx, filter, mongo.Pipeline{expr.Set(set)}, "_id")
		if !ofDocument(err) {
			return err
		}
	}
	return err
}

// ofDocument reports whether an update of many documents failed because of one of them.
func ofDocument(err error) bool {
	refused, ok := errors.AsType[mongo.WriteException](err)
	return ok && len(refused.WriteErrors) > 0 && refusal(err)
}

// tooLarge reports whether the database refused a document for its size.
func tooLarge(err error) bool { return hasCode(err, codeTooLarge) || hasCode(err, codeUpdateTooLarge) }

// settleEach settles rows one by one, for those of which one makes the whole update fail: the others must not wait for
// it. A document that has no room for all of its outcome keeps status and code of it.
func (s *Store) settleEach(ctx context.Context, rows []*row, answers []outbox.Settled) error {
	if len(rows) == 1 {
		rows[0].lean = true
		return s.settleSimple(ctx, rows, answers)
	}
	var failures []error
	for _, r := range rows {
		if err := s.settleSimple(ctx, []*row{r}, answers); err != nil {
			if !ofDocument(err) {
				return err
			}
			failures = append(failures, err)
		}
	}
	return errors.Join(failures...)
}
