package producer

import (
	"context"
	"fmt"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Insert writes intents into the outbox, and returns how many it wrote: an intent whose [DedupKey] exists is not
// written again. Call it with the context of your transaction, and return its error from the transaction's callback
// as it is.
//
// The error wraps a [*Refused] where an intent breaks the contract.
func Insert(ctx context.Context, outbox *mongo.Collection, intents ...*Intent) (written int, err error) {
	for _, in := range intents {
		wrote, err := in.insert(ctx, outbox)
		if err != nil {
			if reasons := Reasons(err); reasons != nil {
				err = &Refused{Reasons: reasons, err: err}
			}
			return written, fmt.Errorf("insert an intent of kind %s: %w", in.kind, err)
		}
		if wrote {
			written++
		}
	}
	return written, nil
}

func (in *Intent) insert(ctx context.Context, outbox *mongo.Collection) (wrote bool, err error) {
	if in.dedup == "" {
		_, err := outbox.InsertOne(ctx, in)
		return err == nil, err
	}
	doc, err := in.document()
	if err != nil {
		return false, err
	}
	// An upsert, because a duplicate key would end the caller's transaction.
	result, err := outbox.UpdateOne(ctx, bson.D{{Key: "dedup_key", Value: in.dedup}}, bson.D{{Key: "$setOnInsert", Value: doc}}, options.UpdateOne().SetUpsert(true))
	if err != nil {
		return false, err
	}
	return result.UpsertedCount > 0, nil
}

// Refused is the error of an intent that breaks the contract. Its text has the reasons, and no value of the intent; the
// driver's own error, which it wraps, repeats the whole document.
type Refused struct {
	Reasons []Reason
	err     error
}

// Error returns the reasons.
func (e *Refused) Error() string {
	lines := make([]string, len(e.Reasons))
	for i, r := range e.Reasons {
		lines[i] = r.String()
	}
	return "it breaks the contract: " + strings.Join(lines, " ")
}

// Unwrap returns the driver's error.
func (e *Refused) Unwrap() error { return e.err }
