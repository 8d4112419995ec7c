package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/outboxd/outboxd/cmd/internal/config"
	"github.com/outboxd/outboxd/migrations"
	"github.com/outboxd/outboxd/store"
)

// closeTimeout bounds leaving the database.
const closeTimeout = 5 * time.Second

// connect opens the outbox; the caller calls the function that is returned.
func connect(ctx context.Context, m config.Mongo, o store.Options) (*store.Store, func(), error) {
	o.URI, o.Database, o.Collection = m.URI.Reveal(), m.Database, m.Collection
	within, cancel := context.WithTimeoutCause(ctx, m.ConnectTimeout, fmt.Errorf("MongoDB did not answer within %v (--connect-timeout)", m.ConnectTimeout))
	defer cancel()
	s, err := store.Connect(within, o)
	if err != nil {
		return nil, nil, fmt.Errorf("connect to MongoDB (--mongodb-uri, %s): %w", config.VariableURI, err)
	}
	return s, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		_ = s.Close(ctx) // nothing is under way that could be lost
	}, nil
}

// withStore runs a command on the outbox that the command line names, until the first signal.
func (p *program) withStore(do func(context.Context, *store.Store) error) error {
	return p.open(store.Options{}, func(ctx context.Context, _ config.Mongo, s *store.Store) error { return do(ctx, s) })
}

// withStoreOf does so with options of its own, for a command that reads intents as workers do. It fails where the
// outbox is not migrated, because their keys at the providers have its namespace in them.
func (p *program) withStoreOf(o store.Options, do func(context.Context, *store.Store) error) error {
	return p.open(o, func(ctx context.Context, m config.Mongo, s *store.Store) error {
		namespace, err := migrations.New(s.Database(), m.Collection).Namespace(ctx)
		if err != nil {
			return err
		}
		s.UseNamespace(namespace)
		return do(ctx, s)
	})
}

func (p *program) open(o store.Options, do func(context.Context, config.Mongo, *store.Store) error) error {
	m, err := config.LoadMongo(p.source)
	if err != nil {
		return err
	}
	ctx, stop := p.interruptible()
	defer stop()
	s, leave, err := connect(ctx, m, o)
	if err != nil {
		return err
	}
	defer leave()
	if err := do(ctx, m, s); err != nil {
		if ctx.Err() != nil {
			return errors.Join(context.Cause(ctx), err)
		}
		return err
	}
	return nil
}

// withMigrator runs a command on the schema of the outbox that the command line names.
func (p *program) withMigrator(do func(context.Context, *migrations.Migrator, *store.Store) error) error {
	return p.open(store.Options{}, func(ctx context.Context, m config.Mongo, s *store.Store) error {
		return do(ctx, migrations.New(s.Database(), m.Collection), s)
	})
}
