package payments

import (
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
)

// create writes a payment and the intent that charges it, both or neither. Under an idempotency key that was used before
// it writes nothing and returns the payment of that time (replayed), or a *refusal if the order was another one. After
// any other error it is not known whether they were written; under a key, repeating tells.
func (a *App) create(ctx context.Context, o order, key, traceparent, tracestate string) (p *Payment, replayed bool, err error) {
	p = newPayment(o, key)
	intent := p.chargeIntent(a.cfg.Senders, traceparent, tracestate)
	session, err := a.client.StartSession()
	if err != nil {
		return nil, false, fmt.Errorf("start a session: %w", err)
	}
	defer session.EndSession(context.WithoutCancel(ctx))

	// Ids and contents are fixed before the transaction, so however often the driver repeats it, it writes the same.
	_, err = session.WithTransaction(ctx, func(ctx context.Context) (any, error) {
		if _, err := a.payments.InsertOne(ctx, p); err != nil {
			return nil, err
		}
		return a.outbox.InsertOne(ctx, intent)
	}, options.Transaction().SetReadConcern(readconcern.Majority()).SetWriteConcern(durable()).SetReadPreference(readpref.Primary()))
	switch {
	case err == nil:
		return p, false, nil
	case key != "" && mongo.IsDuplicateKeyError(err): // the ids are random: only the idempotency key can be there already
		p, err = a.replay(ctx, key, p.Fingerprint)
		return p, err == nil, err
	default:
		return nil, false, fmt.Errorf("write payment and intent: %w", err)
	}
}

// replay returns the payment that was made under the key.
func (a *App) replay(ctx context.Context, key, fingerprint string) (*Payment, error) {
	var p Payment
	// Linearizable: the insert has met a payment that is committed, though maybe not yet on a majority.
	coll := a.payments.Clone(options.Collection().SetReadConcern(readconcern.Linearizable()))
	if err := coll.FindOne(ctx, bson.D{{Key: "idempotency_key", Value: key}}).Decode(&p); err != nil {
		return nil, fmt.Errorf("read the payment of an idempotency key: %w", err)
	}
	if p.Fingerprint != fingerprint {
		return nil, refuse(CodeIdempotencyKeyReused)
	}
	return &p, nil
}

var errNoPayment = errors.New("there is no payment with this id")

// find returns a payment, or errNoPayment.
func (a *App) find(ctx context.Context, id string) (*Payment, error) {
	var p Payment
	err := a.payments.FindOne(ctx, bson.D{{Key: "_id", Value: id}}).Decode(&p)
	switch {
	case errors.Is(err, mongo.ErrNoDocuments):
		return nil, errNoPayment
	case err != nil:
		return nil, fmt.Errorf("read a payment: %w", err)
	}
	return &p, nil
}
