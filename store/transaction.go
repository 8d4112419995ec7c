package store

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"

	"github.com/outboxd/outboxd/outbox"
)

// Bounds of the transactions that settle intents with consequences.
const (
	maxTogether    = 50  // rows in one transaction
	maxFollowUps   = 200 // follow-ups in one transaction, unless one row alone has more
	maxTries       = 8   // of one transaction, before its rows are tried one by one, or without consequences
	maxCommits     = 3   // of one commit, before its result stays unknown
	firstPause     = 5 * time.Millisecond
	longestPause   = 500 * time.Millisecond
	abortTimeout   = 5 * time.Second
	labelTransient = "TransientTransactionError"
	labelUnknown   = "UnknownTransactionCommitResult"
)

// errMoved is returned by a try whose own fence found fewer documents than it had just read.
var errMoved = errors.New("a document changed under the transaction")

// together splits rows with consequences into parts that go in one transaction each.
func together(rows []*row) [][]*row {
	var parts [][]*row
	followUps := 0
	for _, r := range rows {
		last := len(parts) - 1
		if followUps += len(r.followUps); last < 0 || len(parts[last]) == maxTogether || followUps > maxFollowUps {
			parts, followUps = append(parts, nil), len(r.followUps)
			last++
		}
		parts[last] = append(parts[last], r)
	}
	return parts
}

// settleTogether settles rows with their consequences in one transaction. What the database refuses of the consequences
// is degraded or dropped; where rows stand in each other's way they go one by one; and where nothing helps a row is
// settled without its consequences, with a note. An error means that the database could not be reached or did not tell.
func (s *Store) settleTogether(ctx context.Context, rows []*row, answers []outbox.Settled) error {
	pause := firstPause
	for try := 1; ; {
		err := s.try(ctx, rows, answers)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
		if _, ok := errors.AsType[*degraded](err); ok {
			continue
		}
		if hasCode(err, codeUnauthorized) && s.validate.CompareAndSwap(false, true) {
			continue
		}
		passing := hasLabel(err, labelTransient) || errors.Is(err, errMoved)
		if passing && try < maxTries {
			try++
			if !wait(ctx, time.Duration(rand.Int64N(int64(pause)))) {
				return err
			}
			pause = min(2*pause, longestPause)
			continue
		}
		if !refusal(err) {
			return err
		}
		if len(rows) > 1 {
			for _, r := range rows {
				if err := s.settleTogether(ctx, []*row{r}, answers); err != nil {
					return err
				}
			}
			return nil
		}
		rows[0].giveUp(err)
		return s.settleSimple(ctx, rows, answers)
	}
}

// refusal reports whether the database is there and says no, so that repeating the same cannot help: anything but a
// broken connection, a missing primary, a result that is unknown, or lack of time.
func refusal(err error) bool {
	if hasCode(err, codeWriteConflict) || hasCode(err, codeLockTimeout) || errors.Is(err, errMoved) {
		return true // all the tries met the same conflict
	}
	_, server := errors.AsType[mongo.ServerError](err)
	return server && !hasLabel(err, labelTransient) && !hasLabel(err, labelUnknown) && !hasLabel(err, "RetryableWriteError") &&
		!mongo.IsNetworkError(err) && !mongo.IsTimeout(err)
}

// try runs the transaction once.
func (s *Store) try(ctx context.Context, rows []*row, answers []outbox.Settled) error {
	session, err := s.db.Client().StartSession()
	if err != nil {
		return err
	}
	defer session.EndSession(context.WithoutCancel(ctx))
	err = session.StartTransaction(options.Transaction().SetReadConcern(readconcern.Snapshot()).SetWriteConcern(durable).SetReadPreference(primary))
	if err != nil {
		return err
	}
	live, err := s.writeAll(mongo.NewSessionContext(ctx, session), rows)
	if err == nil && len(live) > 0 {
		err = commit(ctx, session)
	}
	if err != nil || len(live) == 0 {
		abort, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
		defer cancel()
		_ = session.AbortTransaction(abort) // the server ends it by itself as well, and the error that counts is above
		if err != nil {
			return err
		}
	}
	written := make(map[*row]bool, len(live))
	for _, r := range live {
		written[r] = true
		answers[r.at] = outbox.Settled{Notes: r.notes}
	}
	var refused []*row
	for _, r := range rows {
		if !written[r] {
			refused = append(refused, r)
		}
	}
	if len(refused) == 0 {
		return nil
	}
	return s.judge(ctx, refused, answers)
}

func commit(ctx context.Context, session *mongo.Session) error {
	for n := 1; ; n++ {
		err := session.CommitTransaction(ctx)
		if err == nil || !hasLabel(err, labelUnknown) || n == maxCommits || ctx.Err() != nil {
			return err
		}
	}
}

// writeAll writes the rows whose token still holds, and their consequences, and returns those rows.
func (s *Store) writeAll(ctx context.Context, rows []*row) ([]*row, error) {
	live, now, err := s.live(ctx, rows)
	if err != nil || len(live) == 0 {
		return nil, err
	}
	intents, letters, err := s.missing(ctx, live)
	if err != nil {
		return nil, err
	}
	result, err := s.updateMany(ctx, fence(live), s.settling(live), "_id")
	if err != nil {
		return nil, err
	}
	if result.MatchedCount != int64(len(live)) {
		return nil, errMoved
	}
	if err := s.insert(ctx, intents, now, false); err != nil {
		return nil, err
	}
	if err := s.insert(ctx, letters, now, !s.validate.Load()); err != nil {
		return nil, err
	}
	return live, s.writeBack(ctx, live)
}

// live returns the rows whose token holds, and the database's time.
func (s *Store) live(ctx context.Context, rows []*row) ([]*row, time.Time, error) {
	cursor, err := s.intents.Aggregate(ctx, mongo.Pipeline{
		{{Key: "$match", Value: fence(rows)}},
		{{Key: "$project", Value: bson.D{{Key: "now", Value: "$$NOW"}}}},
	}, options.Aggregate().SetHint(bson.D{{Key: "_id", Value: 1}}).SetBatchSize(int32(len(rows)+1)))
	if err != nil {
		return nil, time.Time{}, err
	}
	var found []struct {
		ID  bson.RawValue `bson:"_id"`
		Now time.Time     `bson:"now"`
	}
	if err := cursor.All(ctx, &found); err != nil {
		return nil, time.Time{}, err
	}
	held := make(map[string]bool, len(found))
	for _, f := range found {
		held[keyOf(f.ID)] = true
	}
	var live []*row
	var now time.Time
	for _, r := range rows {
		if held[r.key] {
			live, now = append(live, r), found[0].Now
		}
	}
	return live, now, nil
}

// ownedFollowUp is a follow-up with the row that brings it along.
type ownedFollowUp struct {
	*followUp
	row *row
}

// missing returns the rows' follow-ups that do not exist yet: those to insert as intents, and those to keep as dead letters.
// One that exists by its _id was inserted when its parent was settled before; one whose dedup_key exists is not wanted.
func (s *Store) missing(ctx context.Context, rows []*row) (intents, letters []ownedFollowUp, err error) {
	var ids, keys bson.A
	for _, r := range rows {
		for _, f := range r.followUps {
			ids = append(ids, f.ID.String())
			if f.DedupKey != "" {
				keys = append(keys, f.DedupKey)
			}
		}
	}
	if len(ids) == 0 {
		return nil, nil, nil
	}
	filter := bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}}
	if len(keys) > 0 {
		filter = bson.D{{Key: "$or", Value: bson.A{filter, bson.D{{Key: "dedup_key", Value: bson.D{{Key: "$in", Value: keys}}}}}}}
	}
	cursor, err := s.intents.Find(ctx, filter, options.Find().SetProjection(bson.D{{Key: "dedup_key", Value: 1}}))
	if err != nil {
		return nil, nil, err
	}
	var found []struct {
		ID       bson.RawValue `bson:"_id"`
		DedupKey bson.RawValue `bson:"dedup_key"`
	}
	if err := cursor.All(ctx, &found); err != nil {
		return nil, nil, err
	}
	taken := make(map[[2]string]bool, 2*len(found)) // by which field, and its value
	for _, f := range found {
		if id, ok := f.ID.StringValueOK(); ok {
			taken[[2]string{"_id", id}] = true
		}
		if key, ok := f.DedupKey.StringValueOK(); ok {
			taken[[2]string{"dedup_key", key}] = true
		}
	}
	for _, r := range rows {
		for _, f := range r.followUps {
			id, key := [2]string{"_id", f.ID.String()}, [2]string{"dedup_key", f.DedupKey}
			switch {
			case f.gone, taken[id], taken[key]:
				continue
			case f.failure == nil:
				intents = append(intents, ownedFollowUp{f, r})
			default:
				letters = append(letters, ownedFollowUp{f, r})
			}
			taken[id] = true
			if f.DedupKey != "" {
				taken[key] = true
			}
		}
	}
	return intents, letters, nil
}

func (s *Store) insert(ctx context.Context, list []ownedFollowUp, now time.Time, bypass bool) error {
	if len(list) == 0 {
		return nil
	}
	docs := make([]bson.D, len(list))
	for i, f := range list {
		docs[i] = f.document(now)
	}
	_, err := s.intents.InsertMany(ctx, docs, options.InsertMany().SetBypassDocumentValidation(bypass))
	if at, why, ok := refusedAt(err); ok {
		list[at].refuse(list[at].row, why)
		return &degraded{why}
	}
	return err
}

// writeBack updates the rows' business documents. Values are literal and names are paths, as $set has them.
func (s *Store) writeBack(ctx context.Context, rows []*row) error {
	byCollection := make(map[string][]*row)
	for _, r := range rows {
		if r.update != nil {
			byCollection[r.update.Collection] = append(byCollection[r.update.Collection], r)
		}
	}
	for name, rows := range byCollection {
		if err := s.writeBackTo(ctx, s.db.Collection(name), rows); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) writeBackTo(ctx context.Context, target *mongo.Collection, rows []*row) error {
	models := make([]mongo.WriteModel, len(rows))
	for i, r := range rows {
		models[i] = mongo.NewUpdateOneModel().SetFilter(identity(r.update.ID)).SetUpdate(bson.D{{Key: "$set", Value: encodeDocument(r.update.Set)}})
	}
	drop := func(r *row, note string, err error) error {
		r.update = nil
		r.note(outbox.CodeWriteBackMissed, note)
		return &degraded{err}
	}
	result, err := target.BulkWrite(ctx, models, options.BulkWrite().SetOrdered(true))
	if at, why, ok := refusedAt(err); ok {
		return drop(rows[at], "write_back was not made: "+reason(why), why)
	}
	if err != nil {
		if refusal(err) && len(rows) == 1 { // such as a collection that the worker may not write to
			return drop(rows[0], "write_back was not made: "+reason(err), err)
		}
		return err
	}
	if result.MatchedCount == int64(len(rows)) {
		return nil
	}
	var missed error
	for _, r := range rows {
		switch err := target.FindOne(ctx, identity(r.update.ID), options.FindOne().SetProjection(bson.D{{Key: "_id", Value: 1}})).Err(); {
		case errors.Is(err, mongo.ErrNoDocuments):
			missed = drop(r, outbox.UpdateMissed(r.update.Update), err)
		case err != nil:
			return err
		}
	}
	return missed
}
