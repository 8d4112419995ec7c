package store

import (
	"context"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/outbox"
)

// Desk is what operators do with an outbox: they find intents, change them by hand, run bulk jobs and read the audit.
// It is safe for concurrent use.
type Desk struct{ *Store }

// Desk returns the operators' side of the store.
func (s *Store) Desk() *Desk { return &Desk{s} }

// Look returns the intent that a person means by the text, as [Store.Get] does.
func (d *Desk) Look(ctx context.Context, name string) (outbox.Snapshot, error) {
	raw, err := d.Get(ctx, name)
	if err != nil {
		return outbox.Snapshot{}, err
	}
	return d.snapshot(raw)
}

func (d *Desk) snapshot(raw bson.Raw) (outbox.Snapshot, error) {
	in, err := d.intent(raw)
	if err != nil {
		return outbox.Snapshot{}, fmt.Errorf("read the intent %s: %w", raw.Lookup("_id"), err)
	}
	return outbox.Snapshot{Intent: in, State: raw, Name: nameOfID(in, raw)}, nil
}

// nameOfID returns a text that [Store.Get] takes for exactly this _id. A string that could be an ObjectId, a UUID or
// Extended JSON is written with its type.
func nameOfID(in *outbox.Intent, raw bson.Raw) string {
	text := in.ID.String()
	if !in.ID.IsZero() && len(meant(text)) <= 2 {
		switch ids := meant(text); {
		case in.ID.Type() == outbox.StringID && len(ids) == 1:
			return text
		case in.ID.Type() != outbox.StringID && len(ids) == 2:
			return text
		}
	}
	return typedID(raw.Lookup("_id"))
}

// Retry makes a dead letter pending again, as [Store.RetryDead] does.
func (d *Desk) Retry(ctx context.Context, in outbox.Snapshot, retry outbox.DeadRetry, hand outbox.Hand) error {
	return d.retryDead(ctx, in.State.(bson.Raw), retry, hand)
}

// Resolve writes a person's answer, as [Store.Resolve] does.
func (d *Desk) Resolve(ctx context.Context, in outbox.Snapshot, r outbox.Resolution) (outbox.Settled, error) {
	return d.Store.Resolve(ctx, in.State.(bson.Raw), r)
}

// Cancel cancels a pending intent, as [Store.Cancel] does.
func (d *Desk) Cancel(ctx context.Context, in outbox.Snapshot) error {
	return d.Store.Cancel(ctx, in.State.(bson.Raw))
}

// Discard ends a dead letter that [outbox.Discard] lets go.
func (d *Desk) Discard(ctx context.Context, in outbox.Snapshot, hand outbox.Hand) error {
	return d.discard(ctx, in.State.(bson.Raw), hand)
}
