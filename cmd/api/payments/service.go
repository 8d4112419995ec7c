package payments

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"github.com/outboxd/outboxd/migrations"
)

// Config is what a Service is made of.
type Config struct {
	// Database holds the payments and the outbox; required. Its client should have [ClientTimeout]: it bounds a commit,
	// for which the driver does not heed a request's deadline.
	Database *mongo.Database
	// Outbox is the name of the intents' collection. Defaults to migrations.DefaultCollection.
	Outbox string
	// Senders are required.
	Senders Senders
	// Timeout bounds each call of the Service, but for a commit under way. Defaults to 2 s.
	Timeout time.Duration
}

// ClientTimeout is the client's timeout (options.SetTimeout) with which every call ends within 5 s, whatever MongoDB
// does: Timeout for the writes, as long again for a commit or its abort, and a moment to end the session.
const ClientTimeout = 2 * time.Second

const (
	defaultTimeout = 2 * time.Second
	endTimeout     = 300 * time.Millisecond // to end a session: an abort that gets no answer is the server's to make
)

// Service takes orders and tells what became of them. It is safe for concurrent use.
type Service struct {
	cfg       Config
	client    *mongo.Client
	payments  *mongo.Collection
	outbox    *mongo.Collection
	emails    *mongo.Collection // of Events
	receipts  *mongo.Collection // of Receipts
	schema    *migrations.Migrator
	watching  watcher
	abandoned *abandoned
}

// durable is how everything is written: on the journals of a majority.
func durable() *writeconcern.WriteConcern {
	return &writeconcern.WriteConcern{W: "majority", Journal: new(true)}
}

// inTransaction are the options of every transaction.
func inTransaction() *options.TransactionOptionsBuilder {
	return options.Transaction().SetReadConcern(readconcern.Majority()).SetWriteConcern(durable()).SetReadPreference(readpref.Primary())
}

// New checks the configuration, all of it, and returns a Service. It does no I/O; see [Service.Prepare].
func New(cfg Config) (*Service, error) {
	var errs []error
	if cfg.Database == nil {
		errs = append(errs, errors.New("payments: Database is required"))
	}
	cfg.Outbox = cmp.Or(cfg.Outbox, migrations.DefaultCollection)
	cfg.Timeout = cmp.Or(cfg.Timeout, defaultTimeout)
	if cfg.Timeout < 0 {
		errs = append(errs, fmt.Errorf("payments: Timeout is %v, must not be negative", cfg.Timeout))
	}
	if what := Reserved(cfg.Outbox); what != "" {
		errs = append(errs, fmt.Errorf("payments: the outbox cannot be the collection %q, which holds %s", cfg.Outbox, what))
	}
	errs = append(errs, cfg.Senders.Validate())
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	concerns := options.Collection().SetWriteConcern(durable()).SetReadConcern(readconcern.Majority()).SetReadPreference(readpref.Primary())
	s := &Service{
		cfg: cfg, client: cfg.Database.Client(),
		payments: cfg.Database.Collection(Collection, concerns),
		outbox:   cfg.Database.Collection(cfg.Outbox, concerns),
		emails:   cfg.Database.Collection(Events, concerns),
		receipts: cfg.Database.Collection(Receipts, concerns),
		schema:   migrations.New(cfg.Database, cfg.Outbox),
	}
	s.watching.load = s.load
	s.abandoned = newAbandoned(s.client)
	return s, nil
}

// Close ends what goes on after a request: ending transactions of which a server that did not answer knows nothing. The
// server ends them by itself within a minute. Close it before the client.
func (s *Service) Close() {
	s.abandoned.stop()
}

// Reserved says what a collection of this package holds, and is empty for every other name.
func Reserved(collection string) string {
	switch collection {
	case Collection:
		return "the payments"
	case Events:
		return "the events of e-mails"
	case Receipts:
		return "the receipts of webhooks"
	}
	return ""
}

const indexKeys = "idempotency_key"

// Prepare creates the collections and their indexes, and checks that the outbox is migrated: a transaction must not
// have to create a collection. It is safe to repeat and to run from several processes at once. Its error wraps
// migrations.ErrNotMigrated or migrations.ErrNewer where the outbox does not fit, and says what to do.
func (s *Service) Prepare(ctx context.Context) error {
	if err := s.schema.Check(ctx); err != nil {
		return err
	}
	// Creating an index creates the collection.
	for _, index := range []struct {
		coll   *mongo.Collection
		models []mongo.IndexModel
	}{
		{s.payments, []mongo.IndexModel{{
			Keys: bson.D{{Key: "idempotency_key", Value: 1}},
			Options: options.Index().SetName(indexKeys).SetUnique(true).
				SetPartialFilterExpression(bson.D{{Key: "idempotency_key", Value: bson.D{{Key: "$exists", Value: true}}}}),
		}}},
		{s.emails, []mongo.IndexModel{
			{Keys: bson.D{{Key: "outbox_id", Value: 1}, {Key: "at", Value: 1}}, Options: options.Index().SetName("outbox_id")},
			kept(),
		}},
		{s.receipts, []mongo.IndexModel{kept()}},
	} {
		if _, err := index.coll.Indexes().CreateMany(ctx, index.models); err != nil {
			return fmt.Errorf("create the indexes of %s.%s: %w", s.cfg.Database.Name(), index.coll.Name(), err)
		}
	}
	return nil
}

// keep is how long the providers' events are kept: as long as SendGrid keeps its own log (SendGrid, "Email Logs").
const keep = 30 * 24 * time.Hour

func kept() mongo.IndexModel {
	return mongo.IndexModel{Keys: bson.D{{Key: "at", Value: 1}}, Options: options.Index().SetName("kept").SetExpireAfterSeconds(int32(keep / time.Second))}
}

// Ready returns the reasons why no order can be taken now, for people; none if all is well.
func (s *Service) Ready(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	if err := s.client.Ping(ctx, readpref.Primary()); err != nil {
		return []string{"MongoDB has no primary that answers"}
	}
	if err := s.schema.Check(ctx); err != nil {
		return []string{"the outbox does not fit this version: run `outboxd migrate`"}
	}
	return nil
}

// within bounds a call.
func (s *Service) within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, s.cfg.Timeout, fmt.Errorf("it took longer than %v", s.cfg.Timeout))
}
