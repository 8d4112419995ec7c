package payments

import (
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
)

// Trace is the W3C trace context of a request; both may be empty.
type Trace struct{ Parent, State string }

// Create writes a payment and the intent that charges it, both or neither. key may be empty.
//
// Under an idempotency key that was used before it writes nothing, and returns the payment of that time (replayed), or
// a [*Refused] if the order was another one. While another request under the key is under way it returns [ErrInFlight].
// After any other error it is not known whether they were written; under a key, repeating tells.
func (s *Service) Create(ctx context.Context, o Order, key string, trace Trace) (p *Payment, replayed bool, err error) {
	ctx, cancel := s.within(ctx)
	defer cancel()
	p = newPayment(o, key)
	intent := p.chargeIntent(s.cfg.Senders, trace)
	// Ids and contents are fixed before the transaction, so however often the driver repeats it, it writes the same.
	err = s.transaction(ctx, func(ctx context.Context) error {
		if _, err := s.payments.InsertOne(ctx, p); err != nil {
			if se, ok := errors.AsType[mongo.ServerError](err); ok && key != "" && se.HasErrorCode(writeConflict) {
				// The ids are random: only a transaction that is open under the same key can be in the way. Waiting for
				// it here would hold a connection for as long as it takes.
				return ErrInFlight
			}
			return err
		}
		_, err := s.outbox.InsertOne(ctx, intent)
		return err
	})
	switch {
	case err == nil:
		return p, false, nil
	case errors.Is(err, ErrInFlight):
		return nil, false, ErrInFlight
	case key != "" && mongo.IsDuplicateKeyError(err): // only the idempotency key can be there already
		p, err = s.replay(ctx, key, p.Fingerprint)
		return p, err == nil, err
	default:
		return nil, false, fmt.Errorf("write payment and intent: %w", err)
	}
}

// transaction runs fn in a transaction, and again where MongoDB asks for that.
func (s *Service) transaction(ctx context.Context, fn func(context.Context) error) error {
	session, err := s.client.StartSession()
	if err != nil {
		return fmt.Errorf("start a session: %w", err)
	}
	_, err = session.WithTransaction(ctx, func(ctx context.Context) (any, error) { return nil, fn(ctx) }, inTransaction())
	if err != nil && Unavailable(err) {
		s.abandoned.add(session)
	} else {
		endSession(ctx, session)
	}
	return err
}

// replay returns the payment that was made under the key.
func (s *Service) replay(ctx context.Context, key, fingerprint string) (*Payment, error) {
	var p Payment
	// Linearizable: the insert has met a payment that is committed, though maybe not yet on a majority.
	coll := s.payments.Clone(options.Collection().SetReadConcern(readconcern.Linearizable()))
	if err := coll.FindOne(ctx, bson.D{{Key: "idempotency_key", Value: key}}).Decode(&p); err != nil {
		return nil, fmt.Errorf("read the payment of an idempotency key: %w", err)
	}
	if p.Fingerprint != fingerprint {
		return nil, Refuse(CodeIdempotencyKeyReused)
	}
	return &p, nil
}

// Find returns a payment, or a [*Refused] if there is none with this id.
func (s *Service) Find(ctx context.Context, id string) (*Payment, error) {
	ctx, cancel := s.within(ctx)
	defer cancel()
	if !IsID(id) {
		return nil, Refuse(CodeUnknownPayment)
	}
	var p Payment
	err := s.payments.FindOne(ctx, bson.D{{Key: "_id", Value: id}}).Decode(&p)
	switch {
	case errors.Is(err, mongo.ErrNoDocuments):
		return nil, Refuse(CodeUnknownPayment)
	case err != nil:
		return nil, fmt.Errorf("read a payment: %w", err)
	}
	return &p, nil
}

// load reads several payments at once.
func (s *Service) load(ctx context.Context, ids []string) ([]*Payment, error) {
	ctx, cancel := s.within(ctx)
	defer cancel()
	cursor, err := s.payments.Find(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}})
	if err != nil {
		return nil, fmt.Errorf("read the payments that are watched: %w", err)
	}
	var list []*Payment
	if err := cursor.All(ctx, &list); err != nil {
		return nil, fmt.Errorf("read the payments that are watched: %w", err)
	}
	return list, nil
}
