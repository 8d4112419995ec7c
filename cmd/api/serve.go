package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/connstring"

	"github.com/outboxd/outboxd/cmd/api/payments"
)

const (
	defaultDatabase   = "outbox"
	operationTimeout  = 10 * time.Second // of one operation outside requests, and of a commit
	disconnectTimeout = 5 * time.Second
)

var errStopped = errors.New("stopped by a signal")

// serve runs the API until ctx ends.
func serve(ctx context.Context, cfg config, stderr io.Writer) (err error) {
	log := cfg.logger(stderr)
	opts := options.Client().ApplyURI(cfg.MongoDBURI).SetAppName("outbox-api").SetTimeout(operationTimeout)
	client, err := mongo.Connect(opts)
	if err != nil { // check has tried it
		return errors.New("connect to MongoDB: the connection string is not usable; see --mongodb-uri")
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), disconnectTimeout)
		defer cancel()
		if e := client.Disconnect(end); e != nil {
			err = errors.Join(err, fmt.Errorf("disconnect from MongoDB: %w", e))
		}
	}()
	database, err := databaseName(cfg)
	if err != nil {
		return err
	}
	app, err := payments.New(payments.Config{
		Database: client.Database(database), Outbox: cfg.Collection, Logger: log,
		Senders: cfg.senders(),
	})
	if err != nil {
		return err
	}
	if err := prepare(ctx, cfg, app); err != nil {
		return err
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen on %s, choose another address with --listen: %w", cfg.Listen, err)
	}
	log.Info("serving the payments API", "address", "http://"+ln.Addr().String(), "database", database, "collection", cfg.Collection)
	return app.Serve(ctx, ln, cfg.Drain)
}

// databaseName is the flag's, else the connection string's, else the default.
func databaseName(cfg config) (string, error) {
	uri, err := connstring.Parse(cfg.MongoDBURI)
	if err != nil {
		return "", errors.New("read --mongodb-uri (OUTBOXD_MONGODB_URI): it is no valid connection string")
	}
	return cmp.Or(cfg.Database, uri.Database, defaultDatabase), nil
}

// prepare readies the database, waiting for MongoDB as long as the configuration says.
func prepare(ctx context.Context, cfg config, app *payments.App) error {
	late := fmt.Errorf("MongoDB was not reachable within %v; see --mongodb-uri and --connect-timeout", cfg.ConnectTimeout)
	within, cancel := context.WithTimeoutCause(ctx, cfg.ConnectTimeout, late)
	defer cancel()
	for {
		err := app.Prepare(within)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return errStopped
		case within.Err() != nil:
			return fmt.Errorf("%w: %w", late, err)
		case !mongo.IsTimeout(err) && !mongo.IsNetworkError(err):
			return err
		}
		select { // a refused connection ends a try at once
		case <-within.Done():
		case <-time.After(time.Second):
		}
	}
}
