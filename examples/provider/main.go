package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/outboxd/outboxd/dispatcher"
	"github.com/outboxd/outboxd/migrations"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers"
	"github.com/outboxd/outboxd/store"
)

const (
	connectTimeout = 30 * time.Second
	drain          = 30 * time.Second
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "provider:", err)
		stop()
		os.Exit(1)
	}
}

// run serves the lane until ctx ends, and then ends what was begun.
func run(ctx context.Context) (err error) {
	url, err := providers.BaseURL(os.Getenv("WEBHOOK_URL"))
	if err != nil {
		return fmt.Errorf("WEBHOOK_URL: %w", err)
	}
	connecting, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	db, err := store.Connect(connecting, store.Options{URI: os.Getenv("OUTBOXD_MONGODB_URI"), Database: os.Getenv("OUTBOXD_DATABASE")})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close(context.WithoutCancel(ctx))) }()
	schema := migrations.New(db.Database(), "")
	if err := schema.Check(ctx); err != nil {
		return err
	}
	namespace, err := schema.Namespace(ctx)
	if err != nil {
		return err
	}
	db.UseNamespace(namespace)

	transport := providers.NewTransport(providers.TransportConfig{})
	defer transport.CloseIdleConnections()
	d, err := dispatcher.New(dispatcher.Config{
		Worker: "provider-" + rand.Text(), // unique among live workers
		Store:  db, Shared: db, Upcoming: db, Logger: slog.Default(),
		Lanes: []dispatcher.Lane{lane(&webhook{url: url, client: transport.Client()})},
	})
	if err != nil {
		return err
	}
	return serve(ctx, db, d)
}

// lane holds the rules of the kind.
func lane(p dispatcher.Provider) dispatcher.Lane {
	return dispatcher.Lane{
		Kind: kind, Provider: p, Concurrency: 16, Timeout: 10 * time.Second, Lease: 45 * time.Second,
		Policy: outbox.Policy{
			Retry:       outbox.RetryPolicy{MaxAttempts: 12, Base: 2 * time.Second, Max: 15 * time.Minute},
			OnAmbiguous: outbox.Retry,
			Reconcile:   outbox.ReconcilePolicy{Wait: 30 * time.Second, Interval: 30 * time.Second, AbsentAfter: 2 * time.Minute, GiveUp: 15 * time.Minute},
		},
		Breaker: dispatcher.Breaker{Window: 2 * time.Minute, Buckets: 12, MinRequests: 10, FailureRatio: 0.5, Consecutive: 5, OpenFor: 30 * time.Second, Probes: 2},
	}
}

// serve runs the lane, with hints from the database so that an intent is found at once. Calls are cancelled where they
// do not end within the drain time.
func serve(ctx context.Context, db *store.Store, d *dispatcher.Dispatcher) error {
	abort, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(drain, cancel) })()
	listening, leave := context.WithCancel(ctx)
	var beside sync.WaitGroup
	defer beside.Wait()
	defer leave()
	beside.Go(func() {
		err := d.Listen(listening, func(ctx context.Context) error {
			return db.Watch(ctx, store.Watcher{Notify: d.Notify, Open: d.Watched, Refused: func(error) {}})
		})
		if err != nil {
			slog.Warn("no change stream; intents are found by polling", "err", err)
		}
	})
	return d.Run(ctx, abort)
}
