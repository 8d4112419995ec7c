package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store/internal/expr"
)

const (
	sweepBatch = 100      // documents at one time
	sweepBytes = 32 << 20 // of documents at one time, and one more document
	sweepExact = 64 << 10 // bytes of a field up to which it is compared by its value
	sweepMost  = 10_000
	sweeper    = "sweep" // owner of the leases under which documents are swept
)

// sweepFields are those that decide whether a claim can see a document. A sweep changes only documents in which they
// are still as it read them.
var sweepFields = [...]string{"status", "due_at", "priority", "kind"}

// Sweep settles documents that no claim can see, because a field that claims go by cannot be read: they become dead
// letters with the list of their problems, and their on_dead follow-ups are inserted where they can be read. A document
// in a final status only loses its due_at, and one that was cancelled without a purge_at gets one. What has no kind is
// no intent and is left alone (see [Store.Foreign]). Sweep returns how many documents it changed. An index holds
// exactly these, so that it costs next to nothing while there are none.
func (s *Store) Sweep(ctx context.Context) (int, error) {
	const doing = "sweep up what no claim can see"
	swept := 0
	for swept < sweepMost {
		docs, more, err := s.unclaimable(ctx)
		if err != nil {
			return swept, failed(err, doing)
		}
		n, err := s.sweep(ctx, docs)
		swept += n
		if err != nil {
			return swept, failed(err, doing)
		}
		if n == 0 || !more {
			return swept, nil
		}
	}
	return swept, nil
}

// head remembers when the head of the queue was last found clear.
type head struct {
	mu    sync.Mutex
	clear time.Time
}

// clearEvery is how often it is looked, at most, whether documents that no claim may take stand at the head of the
// queue.
const clearEvery = 5 * time.Second

// clearHead sweeps up some documents if a claim found more than it could take: either other workers were quicker, or
// the index shows documents that no claim may take, such as those of an unknown status. As many of these as a claim
// asks for would stop a lane until the next sweep. What fails here fails again in that sweep, which tells.
func (s *Store) clearHead(ctx context.Context) {
	if !s.head.mu.TryLock() {
		return // another lane is at it, and this one has intents to hand over
	}
	defer s.head.mu.Unlock()
	if time.Since(s.head.clear) < clearEvery {
		return
	}
	docs, _, err := s.unclaimable(ctx)
	if err == nil {
		if n, err := s.sweep(ctx, docs); err == nil && n > 0 {
			return
		}
	}
	s.head.clear = time.Now()
}

// unclaimable returns the next documents of the index, and whether there may be more.
func (s *Store) unclaimable(ctx context.Context) (docs []bson.Raw, more bool, err error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	bounds := func(v any) bson.D { return bson.D{{Key: "status", Value: v}, {Key: "_id", Value: v}} }
	cursor, err := s.intents.Find(ctx, bson.D{}, options.Find().SetHint(indexUnclaimable).
		SetMin(bounds(bson.MinKey{})).SetMax(bounds(bson.MaxKey{})).SetLimit(sweepBatch).SetBatchSize(sweepBatch))
	if err != nil {
		return nil, false, err
	}
	defer cursor.Close(context.WithoutCancel(ctx))
	for size := 0; size < sweepBytes && cursor.Next(ctx); size += len(cursor.Current) {
		docs = append(docs, bytes.Clone(cursor.Current))
	}
	return docs, len(docs) == sweepBatch || cursor.Err() == nil && cursor.RemainingBatchLength() > 0 || cursor.ID() != 0, cursor.Err()
}

// sweep changes the documents and returns how many it changed.
//
// A document that becomes a dead letter is first given a lease, and nothing else: so it is settled as any other, with
// its consequences, and a sweep that dies in between leaves it for the next.
func (s *Store) sweep(ctx context.Context, docs []bson.Raw) (int, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	token := rand.Text()
	var models []mongo.WriteModel
	var ids []bson.RawValue
	for _, raw := range docs {
		doc, err := decode(raw)
		if err != nil {
			return 0, err
		}
		in := outbox.Parse(doc, s.rules)
		var change any = mongo.Pipeline{expr.Set(bson.D{{Key: "lease", Value: leaseOf(token, sweeper)}})}
		if in.Status.Final() {
			change = s.tidied(in.Status)
		} else {
			ids = append(ids, raw.Lookup("_id"))
		}
		models = append(models, mongo.NewUpdateOneModel().SetFilter(as(raw)).SetUpdate(change))
	}
	if len(models) == 0 {
		return 0, nil
	}
	changed := 0
	result, err := s.bulk(ctx, models)
	if refused, ok := errors.AsType[mongo.BulkWriteException](err); ok && refused.WriteConcernError == nil {
		for _, e := range refused.WriteErrors {
			if err := s.bury(ctx, as(docs[e.Index]), e.WriteError); err != nil {
				return changed, err
			}
			changed++
		}
	} else if err != nil {
		return 0, err
	}
	if result != nil {
		changed += int(result.MatchedCount)
	}
	if len(ids) == 0 {
		return changed, nil
	}
	held, _, err := s.readBack(ctx, bson.D{{Key: "_id", Value: expr.In(ids)}, {Key: "lease.token", Value: token}}, ids, nil, 0)
	if err != nil {
		return 0, err
	}
	var batch []outbox.Settlement
	for _, in := range held {
		batch = append(batch, s.condemn(in))
	}
	changed -= len(batch) // until they are settled
	answers, err := s.Settle(ctx, batch)
	if err != nil {
		return changed, err
	}
	for _, answer := range answers {
		if !answer.Lost {
			changed++
		}
	}
	return changed, nil
}

// tidied returns the update of a document in a final status: nothing is left that claims go by, and what was cancelled
// by hand leaves in time.
func (s *Store) tidied(status outbox.Status) mongo.Pipeline {
	tidy := mongo.Pipeline{expr.Unset(bson.A{"due_at", "lease"})}
	if status == outbox.StatusCancelled {
		purge := expr.IfNull("$purge_at", expr.Add("$$NOW", s.cancelled.Milliseconds()))
		tidy = append(tidy, expr.Set(bson.D{{Key: "purge_at", Value: purge}}))
	}
	return tidy
}

// condemn decides that a document is a dead letter because no claim can see it. It never was an attempt, so the
// attempts stay as they are; but whoever held a lease may have called.
func (s *Store) condemn(in *outbox.Intent) outbox.Settlement {
	if len(in.Problems) == 0 {
		in.Problems = []outbox.Problem{{Path: "document", Text: "cannot be seen by any claim"}}
	}
	d := outbox.Decide(in, outbox.Verdict{Event: outbox.Malformed}, outbox.Policy{}, s.Now())
	d.Attempts, d.Abandoned, d.Delay = max(0, in.Attempts), nil, 0
	d.Status, d.Reason, d.Ambiguous = outbox.StatusDead, outbox.ReasonInvalid, outbox.KeepMark
	if in.Lease.Reclaimed {
		d.Ambiguous = outbox.SetMark
	}
	return outbox.Settlement{Intent: in, Decision: d}
}

// as matches a document by its _id while the fields that claims go by are as they were read.
func as(raw bson.Raw) bson.D {
	same := make(bson.A, len(sweepFields))
	for i, field := range sweepFields {
		value, err := raw.LookupErr(field)
		if err == nil && len(value.Value) > sweepExact { // the server takes no command that is much larger than a document
			same[i] = expr.Present("$" + field)
		} else if err == nil {
			same[i] = expr.Eq("$"+field, expr.Literal(value))
		} else {
			same[i] = expr.Missing("$" + field)
		}
	}
	return bson.D{{Key: "_id", Value: equal(raw.Lookup("_id"))}, expr.Expr(expr.And(same...))}
}

// bulk updates documents of the outbox one by one, past the validator where the user may.
func (s *Store) bulk(ctx context.Context, models []mongo.WriteModel) (result *mongo.BulkWriteResult, err error) {
	err = s.bypassing(ctx, func(bypass bool) (err error) {
		result, err = s.intents.BulkWrite(ctx, models, options.BulkWrite().SetOrdered(false).SetBypassDocumentValidation(bypass))
		return err
	})
	return result, err
}
