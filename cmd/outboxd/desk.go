package main

import (
	"cmp"
	"context"
	"errors"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/admin"
	"github.com/outboxd/outboxd/cmd/internal/config"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store"
)

// noReason stands in documents and in the audit where a command that takes a reason was given none.
const noReason = "no reason given"

// desk is what a command does as an operator: through the same functions as the page and the API, so that they cannot
// disagree, and what changes something leaves its record in the audit.
type desk struct {
	*admin.Service
	actor   admin.Actor
	store   *store.Desk
	workers deployment
}

// withDesk runs a command that looks at intents. Policies are the defaults, which matter to nothing but forecasts.
func (p *program) withDesk(do func(context.Context, *desk) error) error {
	return p.withDeskOf(deployment{Policies: config.Policies{Lanes: config.DefaultLanes()}}, do)
}

// withDeskOf does so by the policies of the workers.
func (p *program) withDeskOf(workers deployment, do func(context.Context, *desk) error) error {
	o := workers.options()
	if !workers.named { // nothing is written, so what the workers' file may allow is no problem of an intent
		o.Rules = outbox.Rules{AnyWriteBack: true}
	}
	return p.open(o, func(ctx context.Context, _ config.Mongo, s *store.Store) error {
		return do(ctx, p.desk(s, workers, ""))
	})
}

// withOperator runs a command that changes intents as the person that by names.
func (p *program) withOperator(workers deployment, by string, do func(context.Context, *desk) error) error {
	return p.withStoreOf(workers.options(), func(ctx context.Context, s *store.Store) error {
		return do(ctx, p.desk(s, workers, by))
	})
}

// desk returns the service for the person who gives the command. Whoever has the database has every role: the roles
// bound what the page and the API let people do.
func (p *program) desk(s *store.Store, workers deployment, by string) *desk {
	d := s.Desk()
	kinds := make([]string, 0, len(workers.Lanes)+len(workers.Kinds))
	for _, l := range workers.Lanes {
		kinds = append(kinds, l.Kind)
	}
	return &desk{
		Service: admin.New(admin.Config{Reader: d, State: d, Operator: d, Controls: d, Jobs: d, Audit: d, Kinds: append(kinds, workers.Kinds...), Policy: workers.Policy}),
		actor:   admin.Actor{Who: cmp.Or(by, p.person()), Via: "cli", From: p.person(), Roles: admin.Roles()},
		store:   d, workers: workers,
	}
}

// rawOf returns the document of a snapshot.
func rawOf(in outbox.Snapshot) bson.Raw {
	raw, _ := in.State.(bson.Raw)
	return raw
}

// plainly returns the error for a person at a terminal: it says which intent is not there.
func plainly(err error) error {
	if e, ok := errors.AsType[*admin.Error](err); ok && e.Code == admin.IntentNotFound {
		return cmp.Or(e.Unwrap(), err)
	}
	return err
}
