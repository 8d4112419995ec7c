package store

import (
	"context"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store/internal/expr"
	"github.com/outboxd/outboxd/store/internal/scan"
)

// ClaimToSettle takes up to order.Limit intents that need no call to a provider, whatever their lane is doing:
// order.Kind "" takes those of every kind. The outcomes that are recorded and due come first, then what has expired,
// the longest expired first.
//
// What expired is taken while it is pending, whenever it is due, and when its lease ran out, as far as order.Doubts
// says that this can be decided without asking the provider. Where the provider has to be asked it is left to its lane.
func (s *Store) ClaimToSettle(ctx context.Context, order outbox.ClaimOrder) ([]*outbox.Intent, error) {
	const doing = "claim what needs no call"
	ctx, cancel := s.bound(ctx)
	defer cancel()
	if err := s.adopt(ctx); err != nil {
		return nil, failed(err, doing)
	}
	now, err := s.freshNow(ctx)
	if err != nil {
		return nil, failed(err, doing)
	}
	var claimed []*outbox.Intent
	for _, search := range []func(context.Context, outbox.ClaimOrder, time.Time) ([]*outbox.Intent, error){s.claimRecorded, s.claimExpired} {
		if order.Limit <= len(claimed) {
			break
		}
		part := order
		part.Limit = order.Limit - len(claimed)
		more, err := search(ctx, part, now)
		if claimed = append(claimed, more...); err != nil && len(claimed) == 0 {
			return nil, err
		}
	}
	return claimed, nil
}

// claimRecorded takes intents whose recorded outcome is due to be written, and those that were claimed for that and
// whose lease ran out.
func (s *Store) claimRecorded(ctx context.Context, order outbox.ClaimOrder, now time.Time) ([]*outbox.Intent, error) {
	const doing = "claim recorded outcomes"
	q := s.scanners.of(settling)
	claim := q.enter(scan.Order{Limit: order.Limit})
	defer q.leave(claim)
	cursor, err := s.recorded(ctx, order.Kind, now, claim.Reads())
	if claim.Found, err = read(ctx, cursor, err); err != nil {
		return nil, failed(err, "%s: find them", doing)
	}
	return s.take(ctx, doing, q, &taking{ids: q.choose(claim), order: order, reclaims: true,
		condition: append(bson.D{{Key: "outcome", Value: expr.Type("object")}}, due("due_at")...)})
}

func (s *Store) recorded(ctx context.Context, kind string, now time.Time, limit int) (*mongo.Cursor, error) {
	filter := bson.D{}
	if kind != "" {
		filter = bson.D{{Key: "kind", Value: kind}}
	}
	bounds := func(due, rest any) bson.D {
		return bson.D{{Key: "due_at", Value: due}, {Key: "kind", Value: rest}, {Key: "outcome.at", Value: rest}, {Key: "_id", Value: rest}}
	}
	return s.hints.Find(ctx, filter, options.Find().
		SetMin(bounds(earliest, bson.MinKey{})).SetMax(bounds(bson.NewDateTimeFromTime(now), bson.MaxKey{})).
		SetHint(indexRecorded).
		SetProjection(expr.Fields("_id")).
		SetLimit(int64(limit)).SetBatchSize(int32(limit)))
}

// settling is the queue of what needs no call. It is no kind of an intent.
const settling = ""

// claimExpired takes intents whose expires_at has passed and about which nothing has to be asked.
func (s *Store) claimExpired(ctx context.Context, order outbox.ClaimOrder, now time.Time) ([]*outbox.Intent, error) {
	const doing = "claim expired intents"
	q := s.scanners.of(settling)
	claim := q.enter(scan.Order{Limit: order.Limit})
	defer q.leave(claim)
	cursor, err := s.expired(ctx, order, now, claim.Reads())
	if claim.Found, err = read(ctx, cursor, err); err != nil {
		return nil, failed(err, "%s: find them", doing)
	}
	return s.take(ctx, doing, q, &taking{ids: q.choose(claim), order: order, reclaims: true,
		condition: append(due("expires_at"), undoubted(order, "$$NOW")...)})
}

// undoubted matches the expired intents about which nothing has to be asked: those of which nobody doubts what became
// of them, and those whose doubt is decided without the provider. now is the database's time, as an expression.
func undoubted(order outbox.ClaimOrder, now any) bson.D {
	var doubts, decided bson.A
	for kind, policy := range order.Doubts {
		if doubts = append(doubts, kind); policy != outbox.Reconcile {
			decided = append(decided, kind)
		}
	}
	free := bson.D{{Key: "status", Value: outbox.StatusPending}, {Key: "lease", Value: nil}}
	if len(doubts) == 0 {
		return append(bson.D{{Key: "ambiguous_at", Value: nil}}, free...)
	}
	policy := bson.A{bson.D{{Key: "on_ambiguous", Value: expr.In(bson.A{outbox.Park, outbox.Retry})}}}
	if len(decided) > 0 {
		policy = append(policy, bson.D{{Key: "on_ambiguous", Value: nil}, {Key: "kind", Value: expr.In(decided)}})
	}
	return bson.D{{Key: "ambiguous_at", Value: nil}, {Key: "$or", Value: bson.A{
		free,
		bson.D{
			{Key: "kind", Value: expr.In(doubts)},
			{Key: "$or", Value: policy},
			{Key: "$or", Value: bson.A{
				bson.D{{Key: "status", Value: outbox.StatusPending}},
				bson.D{{Key: "status", Value: outbox.StatusLeased}, expr.Expr(expr.Lte("$due_at", now))},
			}},
		},
	}}}
}

func (s *Store) expired(ctx context.Context, order outbox.ClaimOrder, now time.Time, limit int) (*mongo.Cursor, error) {
	filter := append(bson.D{
		{Key: "expires_at", Value: expr.Lte(bson.NewDateTimeFromTime(now))},
		{Key: "due_at", Value: expr.Exists(true)},
	}, undoubted(order, bson.NewDateTimeFromTime(now))...)
	if order.Kind != "" {
		filter = append(filter, bson.E{Key: "kind", Value: order.Kind})
	}
	return s.hints.Find(ctx, filter, options.Find().
		SetHint(indexExpires). // its order is wanted, and not asked for: see findRange
		SetProjection(expr.Fields("_id")).
		SetLimit(int64(limit)).SetBatchSize(int32(limit)))
}
