package migrations

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/outboxd/outboxd/internal/timing"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
)

// DefaultCollection is the outbox's name where none is given.
const DefaultCollection = "outbox"

const (
	schemaID = "schema" // _id of the record of applied versions in the meta collection

	// lockTime is how long a command waits for an exclusive lock at first, and lockPause the pause after it. New
	// transactions queue behind a waiting command and are aborted after 5 ms, so it waits briefly and pauses longer.
	// Both double with each try, up to lockTimeMax: a server far away needs more for its answer alone.
	lockTime    = 250 * time.Millisecond
	lockPause   = 500 * time.Millisecond
	lockTimeMax = 4 * time.Second

	// patience is how long one step is repeated. A transaction that is in the way ends after 60 s by default
	// (transactionLifetimeLimitSeconds).
	patience = 3 * time.Minute

	buildTime = 12 * time.Hour // for one index of a collection that is full already
)

// Migrator brings one outbox of a database to the schema of this version. It is safe for concurrent use.
type Migrator struct {
	db     *mongo.Database
	meta   *mongo.Collection
	outbox string
	layout layout
	adopt  bool // take over a collection that others use
	kinds  registered
	forget bool // what is registered counts no more
}

// New returns a Migrator for the outbox of the given name ("" is [DefaultCollection]). The view and the side
// collections derive from the name: <name>_dead, <name>_lanes, <name>_workers, <name>_meta. New does no I/O.
func New(db *mongo.Database, collection string) *Migrator {
	outbox := cmp.Or(collection, DefaultCollection)
	l := layoutOf(outbox)
	meta := db.Collection(l.meta, options.Collection().
		SetWriteConcern(&writeconcern.WriteConcern{W: "majority", Journal: new(true)}).
		SetReadConcern(readconcern.Majority()).
		SetReadPreference(readpref.Primary()))
	return &Migrator{db: db, meta: meta, outbox: outbox, layout: l}
}

// Step is one thing that a migration does.
type Step struct {
	// Text says what is done, for a person.
	Text string
	// Command is the database command that does it.
	Command bson.D

	object object // nil for the record of versions
	brief  bool
}

// Applied is a step that was done.
type Applied struct {
	Step
	Took time.Duration
}

// Version is one version of the schema.
type Version struct {
	Number    int
	Name      string
	AppliedAt time.Time // by the database's clock; zero: not applied
	By        string    // host and process that applied it
}

// Running describes a migration that a process holds the lease for.
type Running struct {
	Owner string    // host and process
	Until time.Time // end of its lease unless renewed, by the database's clock
}

// Status is what is applied and what is not.
type Status struct {
	Have     int       // version that the database has; 0: none
	Want     int       // version that this outboxd needs
	Versions []Version // all that this outboxd or the database knows, oldest first
	Pending  []Step    // what [Migrator.Up] would do; empty if Have is newer than Want
	Refused  error     // why Up would change nothing: [ErrForeign] or [ErrNamespaceLost]; nil if it would
	Running  *Running  // nil if nobody holds a lease
}

// record is the document schemaID of the meta collection.
type record struct {
	Version int `bson:"version"`
	Oldest  int `bson:"oldest"`
	Applied []struct {
		Version int       `bson:"version"`
		Name    string    `bson:"name"`
		At      time.Time `bson:"at"`
		By      string    `bson:"by"`
	} `bson:"applied"`
}

// Check reports whether a worker of this version can work with the database. If not, the error wraps [ErrNotMigrated]
// or [ErrNewer], and says what to do. If the database cannot be read, Check returns that error. It costs one read and
// looks at the version and the namespace only; [Migrator.Drift] also finds objects that were changed or dropped by
// hand.
func (m *Migrator) Check(ctx context.Context) error {
	s, err := m.state(ctx)
	switch want := latest().number; {
	case err != nil:
		return err
	case s.Version < want || s.namespace == "":
		return m.notMigrated(ctx, s)
	case s.Oldest > want:
		return m.newer(s.Version)
	}
	return nil
}

// Plan returns the steps that [Migrator.Up] would take now, and changes nothing. It returns an error that wraps
// [ErrStandalone], [ErrNewer], [ErrForeign] or [ErrNamespaceLost] where Up would.
func (m *Migrator) Plan(ctx context.Context) ([]Step, error) {
	if err := m.refuseStandalone(ctx); err != nil {
		return nil, err
	}
	s, err := m.state(ctx)
	if err != nil {
		return nil, err
	}
	if s.Version > latest().number {
		return nil, m.newer(s.Version)
	}
	found, err := read(ctx, m.db, m.layout)
	if err != nil {
		return nil, err
	}
	if err := m.refuseForeign(ctx, s, found); err != nil {
		return nil, err
	}
	if err := m.refuseLost(ctx, s, found); err != nil {
		return nil, err
	}
	var steps []Step
	var errs []error
	want := m.wanted(s.known(found, m.outbox))
	if s.kinds == nil || !want.equal(*s.kinds) {
		steps = append(steps, m.registerStep(want))
	}
	for _, o := range m.objects(want) {
		c, err := o.change(found)
		if err != nil {
			errs = append(errs, err)
		}
		if c != nil {
			steps = append(steps, Step{Text: c.text, Command: c.command, object: o, brief: c.brief})
		}
	}
	if len(errs) > 0 {
		return nil, fmt.Errorf("database %s cannot be migrated: %w", m.db.Name(), errors.Join(errs...))
	}
	if s.namespace == "" {
		steps = append(steps, Step{Text: "give the outbox a namespace", Command: m.setNamespace(newNamespace(), false), brief: true})
	}
	for _, v := range versions() {
		if v.number > s.Version {
			steps = append(steps, m.recordStep(v))
		}
	}
	return steps, nil
}

// recordStep notes that a version is applied.
func (m *Migrator) recordStep(v version) Step {
	entry := bson.D{{Key: "version", Value: v.number}, {Key: "name", Value: v.name}, {Key: "at", Value: "$$NOW"}, {Key: "by", Value: ownerName()}}
	applied := bson.D{{Key: "$concatArrays", Value: bson.A{bson.D{{Key: "$ifNull", Value: bson.A{"$applied", bson.A{}}}}, bson.A{entry}}}}
	update := bson.D{
		// The version in the filter makes a repetition after a lost answer harmless.
		{Key: "q", Value: bson.D{{Key: "_id", Value: schemaID}}},
		{Key: "u", Value: bson.A{bson.D{{Key: "$set", Value: bson.D{
			{Key: "applied", Value: bson.D{{Key: "$cond", Value: bson.A{bson.D{{Key: "$gte", Value: bson.A{"$version", v.number}}}, "$applied", applied}}}},
			{Key: "version", Value: v.number}, {Key: "oldest", Value: v.oldest}}}}}},
		{Key: "upsert", Value: true},
	}
	return Step{Text: fmt.Sprintf("record version %d (%s)", v.number, v.name), brief: true,
		Command: bson.D{{Key: "update", Value: m.layout.meta}, {Key: "updates", Value: bson.A{update}}, durable}}
}

// Up applies what [Migrator.Plan] lists and returns what it did, also beside an error. If nothing is to be done it
// writes nothing. If another process is migrating it waits, until ctx ends. It returns an error that wraps
// [ErrStandalone], [ErrNewer], [ErrForeign], [ErrNamespaceLost] or [ErrLeaseLost], or one that says which step
// failed; running it again goes on there.
func (m *Migrator) Up(ctx context.Context) ([]Applied, error) {
	steps, err := m.Plan(ctx)
	if err != nil || len(steps) == 0 {
		return nil, err
	}
	if err := m.createMeta(ctx); err != nil {
		return nil, err
	}
	l, err := acquire(ctx, m.meta, leaseTime)
	if err != nil {
		return nil, err
	}
	ctx, release := l.hold(ctx)
	defer release()

	// What was planned without the lease may have been done by another process meanwhile.
	steps, err = m.Plan(ctx)
	if err != nil {
		return nil, err
	}
	var done []Applied
	for _, s := range steps {
		began := time.Now()
		if err := m.apply(ctx, s); err != nil {
			return done, fmt.Errorf("migrating database %s: %s: %w", m.db.Name(), s.Text, explain(err))
		}
		done = append(done, Applied{Step: s, Took: time.Since(began)})
	}
	return done, nil
}

// createMeta creates the collection of the lease, which can only be taken where that exists.
func (m *Migrator) createMeta(ctx context.Context) error {
	meta := collection{name: m.layout.meta}
	c, err := meta.change(&live{})
	if err != nil {
		return err
	}
	if err := m.apply(ctx, Step{Text: c.text, Command: c.command, object: meta, brief: c.brief}); err != nil {
		return fmt.Errorf("migrating database %s: %s: %w", m.db.Name(), c.text, err)
	}
	return nil
}

// apply does one step. After a failure that may pass it looks whether the step is still needed, because the command may
// have taken effect, and repeats it if so.
func (m *Migrator) apply(ctx context.Context, s Step) error {
	began := time.Now()
	for wait, rest := lockTime, lockPause; ; wait, rest = min(2*wait, lockTimeMax), min(2*rest, 2*lockTimeMax) {
		err := m.run(ctx, s, wait)
		if err == nil {
			return nil
		}
		if cause := context.Cause(ctx); cause != nil {
			return fmt.Errorf("%w: %w", cause, err)
		}
		if !passing(err) || time.Since(began) > patience {
			return err
		}
		if err := timing.Sleep(ctx, rest); err != nil {
			return err
		}
		if s.object == nil {
			continue
		}
		found, err := read(ctx, m.db, m.layout)
		if err != nil {
			continue // the database may be electing; the command itself will tell
		}
		c, err := s.object.change(found)
		if err != nil {
			return err
		}
		if c == nil {
			return nil
		}
		s.Command = c.command
	}
}

func (m *Migrator) run(ctx context.Context, s Step, wait time.Duration) error {
	limit := buildTime
	switch {
	case s.object == nil:
		limit = leaseTime
	case s.brief:
		limit = wait
	}
	// The driver tells the server how much time is left, so a command that waits for a lock gives up by itself.
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return m.db.RunCommand(ctx, s.Command, options.RunCmd().SetReadPreference(readpref.Primary())).Err()
}

// Status reads what is applied, what is pending and who is migrating. It changes nothing.
func (m *Migrator) Status(ctx context.Context) (Status, error) {
	r, err := m.state(ctx)
	if err != nil {
		return Status{}, err
	}
	s := Status{Have: r.Version, Want: latest().number}
	for _, v := range versions() {
		s.Versions = append(s.Versions, Version{Number: v.number, Name: v.name})
	}
	for _, a := range r.Applied {
		if a.Version > len(s.Versions) {
			s.Versions = append(s.Versions, Version{Number: a.Version, Name: a.Name})
		}
		for i := range s.Versions {
			if s.Versions[i].Number == a.Version {
				s.Versions[i].AppliedAt, s.Versions[i].By = a.At, a.By
			}
		}
	}
	switch s.Pending, err = m.Plan(ctx); {
	case errors.Is(err, ErrForeign), errors.Is(err, ErrNamespaceLost):
		s.Refused = err
	case err != nil && !errors.Is(err, ErrNewer):
		return s, err
	}
	var holder leaseDocument
	err = m.meta.FindOne(ctx, bson.D{{Key: "_id", Value: leaseID},
		{Key: "$expr", Value: bson.D{{Key: "$gt", Value: bson.A{"$until", "$$NOW"}}}}}).Decode(&holder)
	switch {
	case err == nil:
		s.Running = &Running{Owner: holder.Owner, Until: holder.Until}
	case !errors.Is(err, mongo.ErrNoDocuments):
		return s, fmt.Errorf("reading the migration's lease in %s.%s: %w", m.db.Name(), m.meta.Name(), err)
	}
	return s, nil
}

// refuseStandalone returns an error that wraps ErrStandalone unless the server is in a replica set or a mongos.
func (m *Migrator) refuseStandalone(ctx context.Context) error {
	var hello serverHello
	if err := m.db.RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}).Decode(&hello); err != nil {
		return fmt.Errorf("asking the MongoDB server what it is: %w", err)
	}
	if hello.standalone() {
		return fmt.Errorf("outboxd needs transactions and change streams: start mongod with --replSet rs0 and run rs.initiate() once (a set of one member will do): %w", ErrStandalone)
	}
	return nil
}

// serverHello is the part of a server's answer to hello that tells what it is.
type serverHello struct {
	SetName string `bson:"setName"` // of a member of a replica set
	Msg     string `bson:"msg"`     // isdbgrid: a mongos
}

func (h serverHello) standalone() bool { return h.SetName == "" && h.Msg != "isdbgrid" }
