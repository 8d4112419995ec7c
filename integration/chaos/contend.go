package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/integration/chaos/check"
	"github.com/outboxd/outboxd/integration/chaos/plan"
)

const (
	handful     = 5                       // documents that one event concerns
	ddlPatience = 2500 * time.Millisecond // for which a change of schema may hold everything up
	slack       = 5 * time.Second         // for an event beyond its own time
)

// inTransaction runs do in a transaction of the business's own, which then commits or aborts.
func (s *stage) inTransaction(ctx context.Context, commit bool, do func(ctx context.Context) error) error {
	session, err := s.client.StartSession()
	if err != nil {
		return err
	}
	defer session.EndSession(context.WithoutCancel(ctx))
	if err := session.StartTransaction(); err != nil {
		return err
	}
	if err := do(mongo.NewSessionContext(ctx, session)); err != nil || !commit {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortPatience)
		defer cancel()
		return errors.Join(err, session.AbortTransaction(ctx))
	}
	return session.CommitTransaction(ctx)
}

// tried says what became of an event that other faults may keep from happening.
func (a *actor) tried(e plan.Event, err error) {
	if err != nil {
		a.say("%-9s %-14s ended with: %.150v", e.Track, e.What, err)
	}
}

// lock holds documents in a transaction that others write.
func (a *actor) lock(ctx context.Context, e plan.Event) error {
	ctx, cancel := context.WithTimeout(ctx, e.For+slack)
	defer cancel()
	r := rand.New(rand.NewPCG(e.Seed, 1))
	var err error
	if e.What == plan.HoldTargets {
		err = a.holdTargets(ctx, e, r)
	} else {
		err = a.holdIntents(ctx, e, r)
	}
	a.tried(e, err)
	return nil
}

// holdTargets holds the newest open orders, to which their intents are about to write back, and one that many share.
func (a *actor) holdTargets(ctx context.Context, e plan.Event, r *rand.Rand) error {
	ids, err := a.stage.ids(ctx, orders, bson.D{{Key: "state", Value: "open"}}, options.Find().SetSort(bson.D{{Key: "$natural", Value: -1}}).SetLimit(4*handful))
	if err != nil {
		return err
	}
	ids = append(ids, shared(r.IntN(sharedCount)))
	return a.stage.inTransaction(ctx, r.IntN(2) == 0, func(ctx context.Context) error {
		if _, err := a.stage.db.Collection(orders).UpdateMany(ctx, among(ids), bson.D{{Key: "$set", Value: bson.D{{Key: "held", Value: true}}}}); err != nil {
			return err
		}
		a.met(e, fmt.Sprintf("%d business documents", len(ids)))
		wait(ctx, e.For)
		return nil
	})
}

// holdIntents cancels intents that become due meanwhile, in a transaction that commits late or never.
func (a *actor) holdIntents(ctx context.Context, e plan.Event, r *rand.Rand) error {
	now := time.Now()
	filter := append(bson.D{{Key: "status", Value: "pending"}, {Key: "due_at", Value: bson.D{{Key: "$gt", Value: now.Add(e.For / 8)}, {Key: "$lt", Value: now.Add(e.For)}}}}, untouched...)
	ids, err := a.stage.ids(ctx, collection, filter, options.Find().SetLimit(handful))
	if err != nil || len(ids) == 0 {
		return err
	}
	commit := r.IntN(2) == 0
	if commit {
		a.noteHands(check.Cancel, ids)
	}
	return a.stage.inTransaction(ctx, commit, func(ctx context.Context) error {
		for _, id := range ids {
			if _, err := a.stage.db.Collection(collection).UpdateOne(ctx, append(bson.D{{Key: "_id", Value: id}, {Key: "status", Value: "pending"}}, untouched...), cancel()); err != nil {
				return err
			}
		}
		a.met(e, fmt.Sprintf("%d intents, to be cancelled: %v", len(ids), commit))
		wait(ctx, e.For)
		return nil
	})
}

// untouched matches intents that surely had no effect.
var untouched = bson.D{{Key: "ambiguous_at", Value: nil}, {Key: "outcome", Value: nil}, {Key: "lease", Value: nil}}

// cancel is the documented update by which anyone cancels an intent.
func cancel() bson.D {
	now := time.Now()
	return bson.D{
		{Key: "$set", Value: bson.D{{Key: "status", Value: "cancelled"}, {Key: "cancelled_at", Value: now}, {Key: "purge_at", Value: now.Add(7 * 24 * time.Hour)}}},
		{Key: "$unset", Value: bson.D{{Key: "due_at", Value: ""}}},
	}
}

// schema changes the schema under load. While the change waits for a lock, nothing else gets one, so it is trouble of
// the database itself.
func (a *actor) schema(ctx context.Context, e plan.Event) error {
	ctx, cancel := context.WithTimeout(ctx, e.For+ddlPatience+slack)
	defer cancel()
	name := []string{collection, orders}[e.Seed%2]
	modify := bson.D{{Key: "collMod", Value: name}, {Key: "validationAction", Value: "error"}}
	run := func(command bson.D) error {
		ctx, cancel := context.WithTimeout(ctx, ddlPatience) // which the driver tells the server
		defer cancel()
		return a.stage.db.RunCommand(ctx, command).Err()
	}
	defer a.trouble(-1, e.What)()
	var err error
	switch e.What {
	case plan.Modify:
		err = run(modify)
	case plan.Index:
		index := bson.D{{Key: "key", Value: bson.D{{Key: "chaos", Value: 1}}}, {Key: "name", Value: "chaos"}}
		err = run(bson.D{{Key: "createIndexes", Value: name}, {Key: "indexes", Value: bson.A{index}}, {Key: "commitQuorum", Value: 1}})
		wait(ctx, e.For)
		err = errors.Join(err, run(bson.D{{Key: "dropIndexes", Value: name}, {Key: "index", Value: "chaos"}}))
	case plan.Behind:
		changed := make(chan error, 1)
		err = a.stage.inTransaction(ctx, false, func(ctx context.Context) error {
			for _, held := range []string{collection, orders} {
				if err := a.stage.db.Collection(held).FindOne(ctx, bson.D{}).Err(); err != nil && !errors.Is(err, mongo.ErrNoDocuments) {
					close(changed)
					return err
				}
			}
			go func() { changed <- run(modify) }()
			wait(ctx, e.For)
			return nil
		})
		err = errors.Join(err, <-changed)
	}
	if err == nil { // what other faults kept from happening does not count
		a.met(e, name)
	}
	a.tried(e, err)
	return nil
}

// hand does what people do to intents with a shell.
func (a *actor) hand(ctx context.Context, e plan.Event) error {
	ctx, stop := context.WithTimeout(ctx, e.For+slack)
	defer stop()
	r := rand.New(rand.NewPCG(e.Seed, 2))
	status, what, update := "leased", check.Unlock, bson.D{{Key: "$set", Value: bson.D{{Key: "status", Value: "pending"}, {Key: "due_at", Value: time.Now()}}}}
	filters := []bson.D{{{Key: "status", Value: status}}}
	if e.What == plan.Cancel {
		status, what, update = "pending", check.Cancel, cancel()
		pending := bson.E{Key: "status", Value: status}
		exists := bson.D{{Key: "$exists", Value: true}}
		// What may have acted is tried as well: the database must refuse it.
		filters = []bson.D{{pending}, {pending, {Key: "ambiguous_at", Value: exists}}, {pending, {Key: "lease", Value: exists}}, {pending, {Key: "outcome", Value: exists}}}
	}
	var chosen []any
	for _, filter := range filters {
		ids, err := a.stage.ids(ctx, collection, filter, options.Find().SetLimit(10*handful))
		if err != nil {
			a.tried(e, err)
			return nil
		}
		r.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
		chosen = append(chosen, ids[:min(len(ids), handful)]...)
	}
	if len(chosen) == 0 {
		return nil
	}
	a.noteHands(what, chosen)
	done, refused := 0, 0
	for _, id := range chosen {
		result, err := a.stage.db.Collection(collection).UpdateOne(ctx, bson.D{{Key: "_id", Value: id}, {Key: "status", Value: status}}, update)
		if server, ok := errors.AsType[mongo.ServerError](err); ok && server.HasErrorCode(codeRefused) {
			refused++
		} else if err == nil {
			done += int(result.ModifiedCount)
		}
	}
	a.met(e, fmt.Sprintf("%d intents, %d refused", done, refused))
	return nil
}

// codeRefused is the server's code for what the validator does not let in.
const codeRefused = 121

// noteHands notes what may be done by hand, before it is.
func (a *actor) noteHands(what string, ids []any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, id := range ids {
		if text, ok := id.(string); ok {
			a.hands = append(a.hands, check.Hand{ID: text, What: what})
		}
	}
}

// among matches the documents of the ids.
func among(ids []any) bson.D {
	return bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}}
}

// ids are those of the documents that fit.
func (s *stage) ids(ctx context.Context, name string, filter bson.D, opts *options.FindOptionsBuilder) ([]any, error) {
	cursor, err := s.db.Collection(name).Find(ctx, filter, opts.SetProjection(bson.D{{Key: "_id", Value: 1}}))
	if err != nil {
		return nil, err
	}
	var docs []struct {
		ID any `bson:"_id"`
	}
	if err := cursor.All(ctx, &docs); err != nil {
		return nil, err
	}
	ids := make([]any, len(docs))
	for i, d := range docs {
		ids[i] = d.ID
	}
	return ids, nil
}

// readShared reads what intents wrote back to the documents that they share.
func (s *stage) readShared(ctx context.Context) (map[string]map[string]string, error) {
	all := make(map[string]map[string]string)
	for n := range sharedCount {
		var doc struct {
			Seen map[string]string `bson:"seen"`
		}
		if err := s.db.Collection(orders).FindOne(ctx, bson.D{{Key: "_id", Value: shared(n)}}).Decode(&doc); err != nil {
			return nil, fmt.Errorf("read a shared document: %w", err)
		}
		all[shared(n)] = doc.Seen
	}
	return all, nil
}
