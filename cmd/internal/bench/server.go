package bench

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"github.com/outboxd/outboxd/cmd/internal/config"
	"github.com/outboxd/outboxd/integration/mongodb"
	"github.com/outboxd/outboxd/migrations"
)

const (
	clientTimeout = 2 * time.Minute // of one operation of the run's own, such as dropping ten million documents
	leaveTimeout  = 30 * time.Second

	// What a server started here gets: ten million intents must have room, and an oplog that does not run over.
	leastCache, mostCache = 1.0, 4.0 // GiB, of a server started here: within them a quarter of the memory; by itself it takes half
	oplogMB               = 8192
)

// server is the MongoDB of a run, and the run's own database in it.
type server struct {
	URI    string
	how    string
	client *mongo.Client
	db     *mongo.Database
	close  func() error
}

// find connects to the MongoDB that the options name, or finds or starts one, and chooses a database that is not there.
func (s *server) find(ctx context.Context, o Options) error {
	s.close = func() error { return nil }
	s.URI, s.how = o.URI, "the server that --mongodb-uri names"
	if s.URI == "" {
		found, err := mongodb.Find(ctx, mongodb.Options{Variables: []string{config.VariableURI}, CacheSizeGB: min(max(float64(memory())/(4<<30), leastCache), mostCache), OplogSizeMB: oplogMB})
		if errors.Is(err, mongodb.ErrNotFound) {
			return fmt.Errorf("the benchmark needs a MongoDB: %w", err)
		}
		if err != nil {
			return err
		}
		s.URI, s.how, s.close = found.URI, found.How, found.Close
	}
	client, err := mongo.Connect(options.Client().ApplyURI(s.URI).SetAppName("outboxd-bench").SetTimeout(clientTimeout).
		SetWriteConcern(&writeconcern.WriteConcern{W: writeconcern.WCMajority, Journal: new(true)}).SetReadConcern(readconcern.Majority()))
	if err != nil {
		return errors.Join(errors.New("the connection string is not valid"), s.close()) // the driver's error may show it
	}
	s.client, s.db = client, client.Database("outboxd_bench_"+strings.ToLower(rand.Text()[:8]))
	return nil
}

// leave drops the database and ends what was started.
func (s *server) leave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	return errors.Join(s.db.Drop(ctx), s.client.Disconnect(ctx), s.close())
}

// collection makes a migrated collection of its own, and a function that drops it.
func (r *run) collection(ctx context.Context) (*mongo.Collection, func() error, error) {
	r.collections++
	name := fmt.Sprintf("round_%d", r.collections)
	if _, err := migrations.New(r.db, name).Up(ctx); err != nil {
		return nil, nil, fmt.Errorf("migrate the collection of a round: %w", err)
	}
	drop := func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
		defer cancel()
		var errs []error
		for _, side := range []string{"_dead", "_lanes", "_workers", "_rates", "_meta", ""} {
			errs = append(errs, r.db.Collection(name+side).Drop(ctx))
		}
		return errors.Join(errs...)
	}
	return r.db.Collection(name), drop, nil
}

// describe tells what the server is.
func (s *server) describe(ctx context.Context) (Server, error) {
	admin := s.client.Database("admin")
	var build struct{ Version string }
	var hello struct{ Hosts []string }
	if err := admin.RunCommand(ctx, bson.D{{Key: "buildInfo", Value: 1}}).Decode(&build); err != nil {
		return Server{}, fmt.Errorf("ask the server for its version: %w", err)
	}
	if err := admin.RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}).Decode(&hello); err != nil {
		return Server{}, fmt.Errorf("ask the server for its state: %w", err)
	}
	c, err := s.counts(ctx)
	return Server{How: s.how, Version: build.Version, Members: max(1, len(hello.Hosts)), Cache: c.cache, WriteConcern: "majority, journal"}, err
}

// counts are the server's own counters at one moment.
type counts struct {
	commands     map[string]int64
	written      int64 // documents inserted, updated and deleted
	in, out      int64 // bytes
	conflicts    int64 // writes that the storage engine had to try again
	user, system int64 // microseconds of processor time
	cache        int64
}

// counts asks the server for its counters. The counts of commands leave out what drivers ask to watch the server, and
// the question itself.
func (s *server) counts(ctx context.Context) (counts, error) {
	var status struct {
		Metrics struct {
			Commands  bson.Raw
			Document  struct{ Inserted, Updated, Deleted int64 }
			Operation struct {
				WriteConflicts int64 `bson:"writeConflicts"`
			}
		}
		Network struct {
			In  int64 `bson:"bytesIn"`
			Out int64 `bson:"bytesOut"`
		}
		Extra struct {
			User   int64 `bson:"user_time_us"`
			System int64 `bson:"system_time_us"`
		} `bson:"extra_info"`
		Wired struct {
			Cache struct {
				Max int64 `bson:"maximum bytes configured"`
			}
		} `bson:"wiredTiger"`
	}
	if err := s.client.Database("admin").RunCommand(ctx, bson.D{{Key: "serverStatus", Value: 1}}).Decode(&status); err != nil {
		return counts{}, fmt.Errorf("ask the server for its counters: %w", err)
	}
	c := counts{
		commands: make(map[string]int64),
		written:  status.Metrics.Document.Inserted + status.Metrics.Document.Updated + status.Metrics.Document.Deleted,
		in:       status.Network.In, out: status.Network.Out, user: status.Extra.User, system: status.Extra.System, cache: status.Wired.Cache.Max,
	}
	elements, err := status.Metrics.Commands.Elements()
	if err != nil {
		return counts{}, fmt.Errorf("read the server's counters: %w", err)
	}
	for _, e := range elements {
		sub, ok := e.Value().DocumentOK()
		if !ok {
			continue
		}
		switch name := e.Key(); name {
		case "hello", "isMaster", "serverStatus", "ping", "buildInfo":
		default:
			if total, ok := sub.Lookup("total").AsInt64OK(); ok && total > 0 {
				c.commands[name] = total
			}
		}
	}
	return c, nil
}

// checkpoint has the server write what earlier rounds left to write, so that it does not do it at the expense of the
// next one. A user who may not ask for it goes without: the rounds then differ a little more.
func (s *server) checkpoint(ctx context.Context) error {
	err := s.client.Database("admin").RunCommand(ctx, bson.D{{Key: "fsync", Value: 1}}).Err()
	if refused, ok := errors.AsType[mongo.CommandError](err); ok && refused.Code == unauthorized {
		return nil
	}
	return err
}

// unauthorized is the server's code for a missing privilege. Source: its error_codes.yml.
const unauthorized = 13

// since returns what was counted between two moments.
func (c counts) since(before counts) counts {
	d := counts{
		commands: make(map[string]int64), written: c.written - before.written, conflicts: c.conflicts - before.conflicts, in: c.in - before.in, out: c.out - before.out,
		user: c.user - before.user, system: c.system - before.system,
	}
	for name, n := range c.commands {
		if n -= before.commands[name]; n > 0 {
			d.commands[name] = n
		}
	}
	return d
}

// cpu is the server's processor time in seconds.
func (c counts) cpu() float64 { return float64(c.user+c.system) / 1e6 }

// trips is how many commands there were.
func (c counts) trips() (sum int64) {
	for n := range maps.Values(c.commands) {
		sum += n
	}
	return sum
}

// per returns how many commands of each name there were for each of n things.
func (c counts) per(n float64) map[string]float64 {
	each := make(map[string]float64)
	for name, count := range c.commands {
		each[name] = float64(count) / cmp.Or(n, 1)
	}
	return each
}

// intentSize is how many bytes one intent has when it is inserted.
func intentSize() (int, error) {
	data, err := bson.Marshal(intent(bson.NewObjectID(), time.Now()))
	return len(data), err
}
