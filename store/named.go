package store

import (
	"context"
	"crypto/rand"
	"errors"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store/internal/expr"
)

// claimNamed takes those of the named intents that are of the kind, pending and due.
func (s *Store) claimNamed(ctx context.Context, doing string, q *scanner, order outbox.ClaimOrder) ([]*outbox.Intent, error) {
	ids := make([]bson.RawValue, min(len(order.Only), order.Limit))
	for i := range ids {
		ids[i] = rawID(order.Only[i])
	}
	condition := append(bson.D{{Key: "kind", Value: order.Kind}}, due("due_at")...)
	if len(ids) == 1 {
		return s.takeOne(ctx, doing, q, ids[0], order, condition)
	}
	return s.take(ctx, doing, q, &taking{ids: ids, order: order, condition: condition})
}

// takeOne leases one intent if it is pending and matches the condition, and reads it, by one command. The driver repeats
// that, and the server carries it out once. What somebody else holds is left alone for a while. After an error that
// stood, what it may hold is given back as after any claim.
func (s *Store) takeOne(ctx context.Context, doing string, q *scanner, id bson.RawValue, order outbox.ClaimOrder, condition bson.D) ([]*outbox.Intent, error) {
	token := rand.Text()
	filter := append(bson.D{{Key: "_id", Value: id}, {Key: "status", Value: outbox.StatusPending}}, condition...)
	var raw bson.Raw
	short, cancel := s.briefly(ctx, 1)
	defer cancel()
	err := s.bypassing(short, func(bypass bool) (err error) {
		raw, err = s.intents.FindOneAndUpdate(short, filter, leasing(token, order),
			options.FindOneAndUpdate().SetReturnDocument(options.After).SetHint(expr.Fields("_id")).SetBypassDocumentValidation(bypass)).Raw()
		return err
	})
	if errors.Is(err, mongo.ErrNoDocuments) {
		return nil, nil // another was quicker
	}
	var in *outbox.Intent
	held := err != nil && ctx.Err() == nil && outOfTime(err)
	if err == nil {
		in, err = s.intent(raw)
	}
	switch {
	case err == nil:
		return []*outbox.Intent{in}, nil
	case held:
		q.shun([]bson.RawValue{id})
		err = nil
	}
	s.orphans.add([]bson.RawValue{id}, token, order.Lease+s.operation)
	return nil, failed(err, "%s: take the lease", doing)
}
