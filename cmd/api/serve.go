package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/cmd/api/httpapi"
	"github.com/outboxd/outboxd/cmd/api/payments"
	"github.com/outboxd/outboxd/internal/timing"
)

const (
	disconnectTimeout = 5 * time.Second
	prepareAgain      = 500 * time.Millisecond // after a refused connection, which fails at once
)

// serve runs the API until ctx ends.
func serve(ctx context.Context, s settings, errOut io.Writer) (err error) {
	log := logger(s.logging, errOut)
	client, err := mongo.Connect(options.Client().ApplyURI(s.mongo.URI.Reveal()).SetAppName("outbox-api").
		SetTimeout(payments.ClientTimeout).SetConnectTimeout(payments.ClientTimeout).SetHeartbeatInterval(payments.ClientTimeout))
	if err != nil { // not shown: it may repeat the connection string, which may hold a password
		return errors.New("connect to MongoDB: the driver does not accept the connection string (--mongodb-uri); check its options")
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), disconnectTimeout)
		defer cancel()
		if e := client.Disconnect(end); e != nil {
			err = errors.Join(err, fmt.Errorf("disconnect from MongoDB: %w", e))
		}
	}()
	service, err := payments.New(payments.Config{
		Database: client.Database(s.mongo.Database), Outbox: s.mongo.Collection, Senders: s.senders,
	})
	if err != nil {
		return err
	}
	defer service.Close()
	api, err := httpapi.New(httpapi.Config{
		Payments: service, Version: version(), Webhooks: s.webhooks, Limits: httpapi.Limits{Rate: s.rate},
		ClientHeader: s.clientHeader, Simulator: s.simulator, Logger: log,
	})
	if err != nil {
		return err
	}
	if err := prepare(ctx, s.mongo.ConnectTimeout, service); err != nil {
		if ctx.Err() != nil { // told to stop before it served: nothing went wrong
			return nil
		}
		return err
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", s.listen)
	if err != nil {
		return fmt.Errorf("listen on %s, choose another address with --listen: %w", s.listen, err)
	}
	log.Info("serving the payments API", "address", "http://"+ln.Addr().String(), "database", s.mongo.Database, "collection", s.mongo.Collection)
	return api.Serve(ctx, ln, s.drain)
}

// prepare readies the database, and waits for MongoDB as long as the configuration says.
func prepare(ctx context.Context, patience time.Duration, service *payments.Service) error {
	late := fmt.Errorf("MongoDB did not answer within %v (--mongodb-uri, --connect-timeout)", patience)
	within, cancel := context.WithTimeoutCause(ctx, patience, late)
	defer cancel()
	for {
		err := service.Prepare(within)
		switch {
		case err == nil:
			return nil
		case within.Err() != nil:
			return fmt.Errorf("%w: %w", context.Cause(within), err)
		case !mongo.IsTimeout(err) && !mongo.IsNetworkError(err):
			return err
		}
		_ = timing.Sleep(within, prepareAgain)
	}
}
