package payments

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"github.com/outboxd/outboxd/migrations"
)

// Config is what an App is made of.
type Config struct {
	// Database holds the payments and the outbox; required. Its client should have a timeout (options.SetTimeout): it
	// bounds a commit, for which the driver does not heed the request's.
	Database *mongo.Database
	// Outbox is the name of the intents' collection. Defaults to migrations.DefaultCollection.
	Outbox string
	// Senders are required.
	Senders Senders
	// WebhookKey verifies the batches of SendGrid's Event Webhook; see [ParseWebhookKey]. Nil: that route does not exist.
	WebhookKey *ecdsa.PublicKey
	// Timeout bounds the work on one request. Defaults to 10 s: a replica set has a new primary about that long after the
	// old one's death, and who would wait for longer had better be told to come back.
	Timeout time.Duration
	// Logger gets a line for each request. Defaults to one that discards.
	Logger *slog.Logger
}

const defaultTimeout = 10 * time.Second

// App is the payments API. It is safe for concurrent use.
type App struct {
	cfg      Config
	client   *mongo.Client
	payments *mongo.Collection
	outbox   *mongo.Collection
	emails   *mongo.Collection // of Events
	schema   *migrations.Migrator
	log      *slog.Logger
}

// durable is how everything is written: on the journals of a majority.
func durable() *writeconcern.WriteConcern {
	return &writeconcern.WriteConcern{W: "majority", Journal: new(true)}
}

// New checks the configuration, all of it, and returns an App. It does no I/O; see [App.Prepare].
func New(cfg Config) (*App, error) {
	var errs []error
	if cfg.Database == nil {
		errs = append(errs, errors.New("payments: Database is required"))
	}
	cfg.Outbox = cmp.Or(cfg.Outbox, migrations.DefaultCollection)
	cfg.Timeout = cmp.Or(cfg.Timeout, defaultTimeout)
	if cfg.Timeout < 0 {
		errs = append(errs, fmt.Errorf("payments: Timeout is %v, must not be negative", cfg.Timeout))
	}
	if cfg.Outbox == Collection {
		errs = append(errs, fmt.Errorf("payments: the outbox cannot be the collection %q, which holds the payments", Collection))
	}
	if cfg.Outbox == Events {
		errs = append(errs, fmt.Errorf("payments: the outbox cannot be the collection %q, which holds the events of e-mails", Events))
	}
	errs = append(errs, cfg.Senders.Validate())
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	concerns := options.Collection().SetWriteConcern(durable()).SetReadConcern(readconcern.Majority()).SetReadPreference(readpref.Primary())
	return &App{
		cfg: cfg, client: cfg.Database.Client(),
		payments: cfg.Database.Collection(Collection, concerns),
		outbox:   cfg.Database.Collection(cfg.Outbox, concerns),
		emails:   cfg.Database.Collection(Events, concerns),
		schema:   migrations.New(cfg.Database, cfg.Outbox),
		log:      cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler)),
	}, nil
}

const indexKeys = "idempotency_key"

// Prepare creates the collections and their indexes, and checks that the outbox is migrated: a transaction must not
// have to create a collection. It is safe to repeat and to run from several processes at once. Its error wraps
// migrations.ErrNotMigrated or migrations.ErrNewer where the outbox does not fit, and says what to do.
func (a *App) Prepare(ctx context.Context) error {
	if err := a.schema.Check(ctx); err != nil {
		return err
	}
	// Creating the index creates the collection.
	_, err := a.payments.Indexes().CreateOne(ctx, mongo.IndexModel{
		Keys: bson.D{{Key: "idempotency_key", Value: 1}},
		Options: options.Index().SetName(indexKeys).SetUnique(true).
			SetPartialFilterExpression(bson.D{{Key: "idempotency_key", Value: bson.D{{Key: "$exists", Value: true}}}}),
	})
	if err != nil {
		return fmt.Errorf("create the index %s of %s.%s: %w", indexKeys, a.cfg.Database.Name(), Collection, err)
	}
	if a.cfg.WebhookKey != nil {
		return a.prepareEvents(ctx)
	}
	return nil
}
