package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store"
)

// oldestServer is the major version that outboxd needs at least.
const oldestServer = 6

// server looks at what answers: its version, and that it is a replica set or a sharded cluster.
func server(ctx context.Context, p Patient) (detail, remedy string, err error) {
	var build struct {
		Version      string `bson:"version"`
		VersionArray []int  `bson:"versionArray"`
	}
	var hello struct {
		SetName string   `bson:"setName"`
		Msg     string   `bson:"msg"`
		Hosts   []string `bson:"hosts"`
	}
	db := p.Store.Database()
	if err := db.RunCommand(ctx, bson.D{{Key: "buildInfo", Value: 1}}).Decode(&build); err != nil {
		return "", "", failed("ask for the server's version", err)
	}
	if err := db.RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}).Decode(&hello); err != nil {
		return "", "", failed("ask for the server's state", err)
	}
	detail = fmt.Sprintf("MongoDB %s, replica set %s of %d", build.Version, hello.SetName, len(hello.Hosts))
	if hello.Msg == "isdbgrid" {
		detail = fmt.Sprintf("MongoDB %s, a sharded cluster", build.Version)
	}
	if len(build.VersionArray) == 0 || build.VersionArray[0] < oldestServer {
		return detail, fmt.Sprintf("upgrade it: outboxd needs MongoDB %d.0 or newer", oldestServer), nil
	}
	return detail, "", nil
}

// schema compares every object with what this version needs: validator, indexes, view.
func schema(ctx context.Context, p Patient) (detail, remedy string, err error) {
	if err := p.Schema.Check(ctx); err != nil {
		return refused("read which version the schema has", err)
	}
	drift, err := p.Schema.Drift(ctx)
	if err != nil {
		return refused("compare the schema with what this version needs", err)
	}
	if len(drift) > 0 {
		return strings.Join(drift, "; "), "run `outboxd migrate`", nil
	}
	return "namespace, validator, indexes and view are as this version needs them", "", nil
}

// deletion looks for TTL indexes by which the database deletes what it should not.
func deletion(ctx context.Context, p Patient) (detail, remedy string, err error) {
	found, err := p.Schema.Endangered(ctx)
	if err != nil {
		return refused("read the indexes", err)
	}
	if len(found) > 0 {
		return strings.Join(found, "; "), "drop each of them; what was deleted is only in a backup (docs/backup.md)", nil
	}
	return "no TTL index but outboxd's own", "", nil
}

// refused tells what the server does not let this user do in words that quote no command; another error is as it is.
func refused(doing string, err error) (detail, remedy string, _ error) {
	if _, ok := errors.AsType[mongo.ServerError](err); !ok {
		return "", "", err
	}
	return failed(doing, err).Error(), "grant the user readWrite on the database", nil
}

// durableWrite makes a write that matches nothing, and waits until a majority has journalled all before it.
func durableWrite(ctx context.Context, p Patient) (detail, remedy string, err error) {
	began := time.Now()
	_, err = p.Store.Database().Collection(p.Collection).UpdateOne(ctx, nobody(), bson.D{{Key: "$set", Value: bson.D{{Key: "status", Value: "pending"}}}})
	if err != nil {
		return "", "", failed("write with w: majority and j: true", err)
	}
	return fmt.Sprintf("w: majority, j: true took %v", time.Since(began).Round(time.Millisecond)), "", nil
}

// privileges tries each kind of write that a worker makes, on documents that are not there, and an insert in a
// transaction that is aborted.
func privileges(ctx context.Context, p Patient) (detail, remedy string, err error) {
	// A write that matches nothing still waits for what others wrote before it, so these wait for no majority: only the
	// check of the write concern does.
	db := p.Store.Database().Client().Database(p.Store.Database().Name(), options.Database().SetWriteConcern(writeconcern.W1()))
	nothing := bson.D{{Key: "$unset", Value: bson.D{{Key: "why", Value: ""}}}}
	var missing []string
	for _, try := range []struct {
		what string
		make func() error
	}{
		{"read " + p.Collection, func() error { return found(db.Collection(p.Collection).FindOne(ctx, nobody()).Err()) }},
		{"update " + p.Collection, func() error {
			_, err := db.Collection(p.Collection).UpdateOne(ctx, nobody(), nothing)
			return err
		}},
		{"insert into " + p.Collection + " in a transaction", func() error { return insertAndAbort(ctx, db.Collection(p.Collection)) }},
		{"update " + p.Collection + "_lanes", func() error {
			_, err := db.Collection(p.Collection+"_lanes").UpdateOne(ctx, nobody(), nothing)
			return err
		}},
		{"update " + p.Collection + "_workers", func() error {
			_, err := db.Collection(p.Collection+"_workers").UpdateOne(ctx, nobody(), nothing)
			return err
		}},
		{"update " + p.Collection + "_meta", func() error {
			_, err := db.Collection(p.Collection+"_meta").UpdateOne(ctx, nobody(), nothing)
			return err
		}},
		{"update " + p.Collection + "_rates", func() error {
			_, err := db.Collection(p.Collection+"_rates").UpdateOne(ctx, nobody(), nothing)
			return err
		}},
		{"delete from " + p.Collection + "_workers", func() error {
			_, err := db.Collection(p.Collection+"_workers").DeleteOne(ctx, nobody())
			return err
		}},
	} {
		if err := try.make(); err != nil {
			missing = append(missing, try.what)
		}
	}
	if len(missing) > 0 {
		return "this user cannot " + strings.Join(missing, ", nor "), "grant the user readWrite on the database", nil
	}
	past := options.UpdateOne().SetBypassDocumentValidation(true)
	if _, err := db.Collection(p.Collection).UpdateOne(ctx, nobody(), nothing, past); err != nil {
		//nolint:nilerr // The answer is the finding.
		return "this user cannot update " + p.Collection + " past its validator, which refuses to settle what breaks it",
			"grant the action bypassDocumentValidation on the collection " + p.Collection, nil
	}
	return "this user may read and write what a worker does", "", nil
}

// found takes it as read that nothing is there.
func found(err error) error {
	if errors.Is(err, mongo.ErrNoDocuments) {
		return nil
	}
	return err
}

// insertAndAbort inserts the smallest valid intent, far in the future, in a transaction that never commits.
func insertAndAbort(ctx context.Context, c *mongo.Collection) error {
	session, err := c.Database().Client().StartSession()
	if err != nil {
		return err
	}
	defer session.EndSession(context.WithoutCancel(ctx))
	if err := session.StartTransaction(options.Transaction().SetWriteConcern(writeconcern.W1())); err != nil {
		return err
	}
	ctx = mongo.NewSessionContext(ctx, session)
	_, err = c.InsertOne(ctx, bson.D{
		{Key: "kind", Value: "sms"}, {Key: "status", Value: "pending"}, {Key: "due_at", Value: time.Now().AddDate(100, 0, 0)},
		{Key: "payload", Value: bson.D{{Key: "to", Value: "+15005550006"}, {Key: "from", Value: "+15005550006"}, {Key: "body", Value: "outboxd doctor"}}},
	})
	return errors.Join(err, session.AbortTransaction(ctx))
}

// nobody matches no document.
func nobody() bson.D { return bson.D{{Key: "_id", Value: bson.NewObjectID()}} }

// changeStream opens one and waits until it is open.
func changeStream(ctx context.Context, p Patient) (detail, remedy string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	open := false
	if err := p.Store.Watch(ctx, store.Watcher{Notify: func(outbox.Hint) { open = true; cancel() }}); err != nil {
		return "", "", err
	}
	if !open {
		return "", "", errors.New("the change stream did not open in time")
	}
	return "opens", "", nil
}

// clock compares this machine's clock with the database's. Workers go by the database's; producers write due_at by
// their own, so that a wrong one delays intents or sends them early.
func clock(ctx context.Context, p Patient) (detail, remedy string, err error) {
	var hello struct {
		LocalTime time.Time `bson:"localTime"`
	}
	began := time.Now()
	if err := p.Store.Database().RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}).Decode(&hello); err != nil {
		return "", "", failed("ask for the database's time", err)
	}
	way := time.Since(began)
	skew := began.Add(way / 2).Sub(hello.LocalTime)
	detail = fmt.Sprintf("this machine is %v ahead of the database (± %v)", skew.Round(time.Millisecond), (way / 2).Round(time.Millisecond))
	if skew.Abs()-way/2 > time.Second {
		return detail, "run NTP on both; what producers write as due_at is as wrong as their clocks", nil
	}
	return detail, "", nil
}

// failed says what was being done. The driver's text may quote documents, so only its code is taken.
func failed(doing string, err error) error {
	if e, ok := errors.AsType[mongo.CommandError](err); ok {
		return fmt.Errorf("%s: MongoDB answered %s (code %d)", doing, e.Name, e.Code)
	}
	if mongo.IsTimeout(err) {
		return fmt.Errorf("%s: no answer within %v", doing, timeout)
	}
	return fmt.Errorf("%s: MongoDB cannot be reached or refuses it", doing)
}
