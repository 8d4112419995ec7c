package migrations_test

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/integration/mongodb/mongotest"
	"github.com/outboxd/outboxd/migrations"
)

// commands collects the names of the commands that a client sends, in their order.
type commands struct {
	mu   sync.Mutex
	list []string
}

func (c *commands) monitor() *options.ClientOptions {
	return options.Client().SetMonitor(&event.CommandMonitor{Started: func(_ context.Context, e *event.CommandStartedEvent) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.list = append(c.list, e.CommandName)
	}})
}

// take returns what was sent since the last call.
func (c *commands) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.list
	c.list = nil
	return list
}

func collections(t *testing.T, db *mongo.Database) []string {
	t.Helper()
	names, err := db.ListCollectionNames(t.Context(), bson.D{{Key: "name", Value: bson.D{{Key: "$not", Value: bson.Regex{Pattern: `^system\.`}}}}})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

func stepTexts(steps []migrations.Step) []string {
	var list []string
	for _, s := range steps {
		list = append(list, s.Text)
	}
	return list
}

func TestUpCreatesEverything(t *testing.T) {
	t.Parallel()
	db := mongotest.Database(t)
	for _, name := range []string{"", "payments_outbox"} {
		m := migrations.New(db, name)
		planned, err := m.Plan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		done, err := m.Up(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(done) == 0 || len(done)+1 != len(planned) { // the collection of the lease is there before
			t.Errorf("planned %q, did %d steps", stepTexts(planned), len(done))
		}
	}
	want := []string{"outbox", "outbox_answers", "outbox_audit", "outbox_dead", "outbox_jobs", "outbox_lanes", "outbox_meta", "outbox_rates", "outbox_sessions", "outbox_workers",
		"payments_outbox", "payments_outbox_answers", "payments_outbox_audit", "payments_outbox_dead", "payments_outbox_jobs", "payments_outbox_lanes", "payments_outbox_meta", "payments_outbox_rates", "payments_outbox_sessions", "payments_outbox_workers"}
	if got := collections(t, db); !slices.Equal(got, want) {
		t.Errorf("collections %q, want %q", got, want)
	}
	if n, err := db.Collection("outbox_meta").CountDocuments(t.Context(), bson.D{}); n != 3 || err != nil {
		t.Errorf("%d documents in outbox_meta, want the record of versions, the namespace and the kinds alone: %v", n, err)
	}
}

func TestUpTwiceWritesNothing(t *testing.T) {
	t.Parallel()
	var sent commands
	db := mongotest.Database(t, sent.monitor())
	m := migrations.New(db, "")
	if _, err := m.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	sent.take()
	done, err := m.Up(t.Context())
	if err != nil || len(done) > 0 {
		t.Errorf("second run: %v, %v", done, err)
	}
	if got := slices.Compact(slices.Sorted(slices.Values(sent.take()))); !slices.Equal(got, []string{"find", "hello", "listCollections", "listIndexes"}) {
		t.Errorf("second run sent %q", got)
	}
	if err := m.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if got := sent.take(); !slices.Equal(got, []string{"find"}) {
		t.Errorf("Check sent %q, want one read", got)
	}
}

func TestPlanChangesNothing(t *testing.T) {
	t.Parallel()
	var sent commands
	db := mongotest.Database(t, sent.monitor())
	m := migrations.New(db, "")
	sent.take()
	steps, err := m.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Status(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, c := range sent.take() {
		if !slices.Contains([]string{"hello", "find", "listCollections", "listIndexes"}, c) {
			t.Errorf("a plan sent %s", c)
		}
	}
	if got := collections(t, db); len(got) > 0 {
		t.Errorf("a plan created %q", got)
	}
	all := strings.Join(stepTexts(steps), "\n")
	for _, want := range []string{"collection outbox with the contract", "collection outbox_lanes", "collection outbox_workers", "collection outbox_meta",
		"index claim", "index dedup", "unique", "index expires", "index dead", "index ttl", "TTL 0 s", "index unclaimable", "view outbox_dead", "record version 1"} {
		if !strings.Contains(all, want) {
			t.Errorf("the plan does not say %q:\n%s", want, all)
		}
	}
}

func TestUpFromManyClients(t *testing.T) {
	t.Parallel()
	db := mongotest.Database(t)
	const n = 8
	var g sync.WaitGroup
	applied, errs := make([][]migrations.Applied, n), make([]error, n)
	for i := range n {
		client := mongotest.Client(t)
		g.Go(func() { applied[i], errs[i] = migrations.New(client.Database(db.Name()), "").Up(t.Context()) })
	}
	g.Wait()
	busy := 0
	for i := range n {
		if errs[i] != nil {
			t.Errorf("client %d: %v", i, errs[i])
		}
		if len(applied[i]) > 0 {
			busy++
		}
	}
	if busy != 1 {
		t.Errorf("%d clients applied steps, want one", busy)
	}
	s, err := migrations.New(db, "").Status(t.Context())
	if err != nil || s.Have != s.Want || len(s.Pending) > 0 || s.Running != nil {
		t.Errorf("status %+v, %v", s, err)
	}
}

func TestUpRepairs(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	m := migrations.New(db, "")
	outbox := db.Collection("outbox")
	if err := outbox.Indexes().DropOne(t.Context(), migrations.IndexExpires); err != nil {
		t.Fatal(err)
	}
	if err := db.Collection("outbox_dead").Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := db.RunCommand(t.Context(), bson.D{{Key: "collMod", Value: "outbox"}, {Key: "validator", Value: bson.D{}}}).Err(); err != nil {
		t.Fatal(err)
	}
	done, err := m.Up(t.Context())
	if err != nil || len(done) != 3 {
		t.Errorf("repaired %v, %v; want validator, index and view", done, err)
	}
	if steps, err := m.Plan(t.Context()); err != nil || len(steps) > 0 {
		t.Errorf("left: %q, %v", stepTexts(steps), err)
	}
}

func TestUpNamesWhatIsInTheWay(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		command bson.D
		want    string
	}{
		"view":   {bson.D{{Key: "create", Value: "outbox"}, {Key: "viewOn", Value: "x"}, {Key: "pipeline", Value: bson.A{}}}, "no ordinary collection"},
		"capped": {bson.D{{Key: "create", Value: "outbox"}, {Key: "capped", Value: true}, {Key: "size", Value: 4096}}, "no ordinary collection"},
		"index": {bson.D{{Key: "createIndexes", Value: "outbox"}, {Key: "indexes", Value: bson.A{bson.D{
			{Key: "key", Value: bson.D{{Key: "kind", Value: 1}}}, {Key: "name", Value: "claim"}}}}}, `dropIndex("claim")`},
		"no view": {bson.D{{Key: "create", Value: "outbox_dead"}}, "is no view"},
		"duplicates": {bson.D{{Key: "insert", Value: "outbox"}, {Key: "documents", Value: bson.A{
			changed(intent("sms", sms()), []func(doc){set("dedup_key", "a")}), changed(intent("sms", sms()), []func(doc){set("dedup_key", "a")})}}}, "remove the duplicates"},
		"time series": {bson.D{{Key: "create", Value: "outbox"}, {Key: "timeseries", Value: bson.D{{Key: "timeField", Value: "due_at"}}}}, "no ordinary collection"},
		"collation":   {bson.D{{Key: "create", Value: "outbox"}, {Key: "collation", Value: bson.D{{Key: "locale", Value: "de"}}}}, "no ordinary collection"},
		"clustered":   {bson.D{{Key: "create", Value: "outbox"}, {Key: "clusteredIndex", Value: bson.D{{Key: "key", Value: bson.D{{Key: "_id", Value: 1}}}, {Key: "unique", Value: true}}}}, "no ordinary collection"},
	} {
		t.Run(name, func(t *testing.T) {
			db := mongotest.Database(t)
			if err := db.RunCommand(t.Context(), test.command).Err(); err != nil {
				t.Fatal(err)
			}
			if _, err := migrations.New(db, "").Adopt().Up(t.Context()); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestCheckAndStatus(t *testing.T) {
	t.Parallel()
	db := mongotest.Database(t)
	m := migrations.New(db, "payments")
	err := m.Check(t.Context())
	if !errors.Is(err, migrations.ErrNotMigrated) || !strings.Contains(err.Error(), "outboxd migrate --database "+db.Name()+" --collection payments") {
		t.Errorf("before: %v", err)
	}
	s, err := m.Status(t.Context())
	if err != nil || s.Have != 0 || s.Want != 1 || len(s.Versions) != 1 || !s.Versions[0].AppliedAt.IsZero() || len(s.Pending) == 0 {
		t.Errorf("status before: %+v, %v", s, err)
	}
	began := time.Now()
	if _, err := m.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, err = m.Status(t.Context())
	if err != nil || s.Have != 1 || s.Versions[0].AppliedAt.Before(began.Add(-time.Minute)) || s.Versions[0].By == "" || len(s.Pending) > 0 {
		t.Errorf("status after: %+v, %v", s, err)
	}

	record := func(version, oldest int) {
		t.Helper()
		_, err := db.Collection("payments_meta").UpdateByID(t.Context(), "schema", bson.D{
			{Key: "$set", Value: bson.D{{Key: "version", Value: version}, {Key: "oldest", Value: oldest}}},
			{Key: "$push", Value: bson.D{{Key: "applied", Value: bson.D{{Key: "version", Value: version}, {Key: "name", Value: "later"}, {Key: "at", Value: time.Now()}, {Key: "by", Value: "x"}}}}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	record(2, 1) // a later version that this one can work with
	if err := m.Check(t.Context()); err != nil {
		t.Errorf("with a compatible later version: %v", err)
	}
	if _, err := m.Up(t.Context()); !errors.Is(err, migrations.ErrNewer) {
		t.Errorf("Up would take a later version back: %v", err)
	}
	if s, err := m.Status(t.Context()); err != nil || s.Have != 2 || len(s.Versions) != 2 || s.Versions[1].Name != "later" {
		t.Errorf("status of a later version: %+v, %v", s, err)
	}
	record(3, 3)
	if err := m.Check(t.Context()); !errors.Is(err, migrations.ErrNewer) {
		t.Errorf("with an incompatible later version: %v", err)
	}
}

func TestStandaloneIsRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		hello bson.D
		want  bool
	}{
		"standalone":  {bson.D{{Key: "isWritablePrimary", Value: true}, {Key: "readOnly", Value: false}, {Key: "ok", Value: 1.0}}, true},
		"replica set": {bson.D{{Key: "isWritablePrimary", Value: true}, {Key: "setName", Value: "rs0"}}, false},
		"mongos":      {bson.D{{Key: "isWritablePrimary", Value: true}, {Key: "msg", Value: "isdbgrid"}}, false},
	} {
		if got, err := migrations.Standalone(test.hello); got != test.want || err != nil {
			t.Errorf("%s: %t, %v", name, got, err)
		}
	}
}

// TestSecondRunLeavesProducersAlone runs the migration beside transactions that are not repeated when they fail.
func TestSecondRunLeavesProducersAlone(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var g sync.WaitGroup
	errs := make(chan error, 4)
	inserted := make(chan struct{})
	for range 4 {
		g.Go(func() {
			for ctx.Err() == nil {
				if err := insertOnce(t.Context(), db); err != nil {
					errs <- err
					return
				}
				select {
				case inserted <- struct{}{}:
				case <-ctx.Done():
				}
			}
		})
	}
	for range 10 {
		select {
		case <-inserted:
		case err := <-errs:
			t.Fatal(err)
		}
		if done, err := migrations.New(db, "").Up(t.Context()); err != nil || len(done) > 0 {
			t.Errorf("run beside producers: %v, %v", done, err)
		}
	}
	stop()
	g.Wait()
	close(errs)
	for err := range errs {
		t.Errorf("a producer was disturbed: %v", err)
	}
}

func insertOnce(ctx context.Context, db *mongo.Database) error {
	return db.Client().UseSession(ctx, func(ctx context.Context) error {
		s := mongo.SessionFromContext(ctx)
		if err := s.StartTransaction(); err != nil {
			return err
		}
		if _, err := db.Collection("outbox").InsertOne(ctx, intent("sms", sms())); err != nil {
			return errors.Join(err, s.AbortTransaction(context.WithoutCancel(ctx)))
		}
		return s.CommitTransaction(ctx)
	})
}

// TestUpWaitsForTransactions holds a transaction open until a step has given up once; producers go on meanwhile.
func TestUpWaitsForTransactions(t *testing.T) {
	t.Parallel()
	failed := make(chan struct{}, 100)
	db := mongotest.Database(t, options.Client().SetMonitor(&event.CommandMonitor{Failed: func(_ context.Context, e *event.CommandFailedEvent) {
		if e.CommandName == "collMod" {
			select {
			case failed <- struct{}{}:
			default:
			}
		}
	}}))
	m := migrations.New(db, "")
	if _, err := m.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := db.RunCommand(t.Context(), bson.D{{Key: "collMod", Value: "outbox"}, {Key: "validationLevel", Value: "off"}}).Err(); err != nil {
		t.Fatal(err)
	}
	producers := mongotest.Client(t).Database(db.Name())
	s, err := producers.Client().StartSession()
	if err != nil {
		t.Fatal(err)
	}
	defer s.EndSession(context.WithoutCancel(t.Context()))
	if err := s.StartTransaction(); err != nil {
		t.Fatal(err)
	}
	open := mongo.NewSessionContext(t.Context(), s)
	if _, err := producers.Collection("outbox").InsertOne(open, intent("sms", sms())); err != nil {
		t.Fatal(err)
	}

	var g sync.WaitGroup
	var done []migrations.Applied
	var upErr error
	g.Go(func() { done, upErr = m.Up(t.Context()) })
	<-failed
	err = producers.Client().UseSession(t.Context(), func(ctx context.Context) error {
		_, err := mongo.SessionFromContext(ctx).WithTransaction(ctx, func(ctx context.Context) (any, error) {
			return producers.Collection("outbox").InsertOne(ctx, intent("sms", sms()))
		})
		return err
	})
	if err != nil {
		t.Errorf("a producer beside the waiting migration: %v", err)
	}
	if err := s.CommitTransaction(open); err != nil {
		t.Errorf("the open transaction: %v", err)
	}
	g.Wait()
	if upErr != nil || len(done) != 1 {
		t.Errorf("did %v, %v; want the validator set", done, upErr)
	}
}

func TestEverySchemaCommandIsDurable(t *testing.T) {
	t.Parallel()
	steps, err := migrations.New(mongotest.Database(t), "").Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := bson.D{{Key: "w", Value: "majority"}, {Key: "j", Value: true}}
	for _, s := range steps {
		if last := s.Command[len(s.Command)-1]; last.Key != "writeConcern" || !reflect.DeepEqual(last.Value, want) {
			t.Errorf("%s: %v", s.Text, last)
		}
	}
}
