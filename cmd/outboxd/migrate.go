package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/cmd/internal/config"
	"github.com/outboxd/outboxd/cmd/internal/term"
	"github.com/outboxd/outboxd/migrations"
	"github.com/outboxd/outboxd/store"
)

type migrateCmd struct {
	mongoFlags
	Action       string `arg:"" optional:"" enum:"up,status" default:"up" help:"up applies what is missing; status prints what is applied and what is not. Default: ${default}."`
	DryRun       bool   `help:"Print the steps and change nothing."`
	Config       string `placeholder:"FILE" predictor:"file" help:"The workers' file of policies: its list kinds is registered ($$OUTBOXD_CONFIG)."`
	ForgetKinds  bool   `help:"Forget kinds that were registered before, and that every kind was let in."`
	AllowUnknown bool   `name:"allow-unknown-kinds" help:"Let intents of every kind in. Without it, a mistyped kind is refused."`
	Adopt        bool   `help:"Take over a collection that holds documents which are no intents, or has a validator of another program."`
	NewNamespace bool   `help:"Give this outbox another namespace: for a copy of a database that shall live on beside the original."`
	JSON         bool   `help:"One JSON object a line: {step, command, ms}; of status {version, name, applied_at, by}."`
}

func (migrateCmd) Help() string {
	return `Creates or brings up to date the collection of intents with its validator and indexes, the view of dead letters, and the
side collections. It is safe to run again, from several machines at once, and beside running producers and workers.

A collection that holds documents which are no intents belongs to another program. It is refused before anything is changed.
With --adopt, the validator applies to that program's inserts too, and workers make dead letters of its documents that have a
kind.

The validator lets in the kinds charge, email and sms, what the file of policies lists as kinds, and what was registered before.
An intent of any other kind is refused with that list, since nobody would ever serve it.

The first run gives the outbox a namespace, by which the providers tell its intents from those of other outboxes. No later
run changes it. A restored backup keeps it. --new-namespace is for a copy that works beside the original, such as one for
staging: stop its workers and delete what is pending or leased in the copy first.`
}

func (c migrateCmd) Run(p *program) error {
	switch {
	case c.Action == "status" && c.DryRun:
		return wrongUse("flag --dry-run: means nothing with status, which changes nothing")
	case c.Action == "status" && (c.Adopt || c.NewNamespace || c.ForgetKinds || c.AllowUnknown):
		return wrongUse("flags --adopt, --new-namespace, --forget-kinds and --allow-unknown-kinds: mean nothing with status, which changes nothing")
	case c.NewNamespace && (c.DryRun || c.Adopt || c.ForgetKinds || c.AllowUnknown):
		return wrongUse("flag --new-namespace: does nothing else, so no other flag of migrate means anything with it")
	}
	var kinds []string
	if c.Config != "" || p.env("OUTBOXD_CONFIG") != "" {
		policies, err := config.LoadPolicies(p.source)
		if err != nil {
			return err
		}
		kinds = policies.Kinds
	}
	return p.withMigrator(func(ctx context.Context, m *migrations.Migrator, s *store.Store) error {
		m = m.Register(kinds...)
		if c.AllowUnknown {
			m = m.AnyKind()
		}
		if c.ForgetKinds {
			m = m.ForgetKinds()
		}
		if c.Adopt {
			m = m.Adopt()
		}
		switch {
		case c.Action == "status":
			return c.status(ctx, p, m)
		case c.NewNamespace:
			return c.newNamespace(ctx, p, m, s)
		case c.DryRun:
			return c.plan(ctx, p, m)
		default:
			return c.up(ctx, p, m)
		}
	})
}

// newNamespace refuses while workers live: they read the namespace when they start.
func (c migrateCmd) newNamespace(ctx context.Context, p *program, m *migrations.Migrator, s *store.Store) error {
	workers, err := s.Workers(ctx)
	if err != nil {
		return err
	}
	if len(workers) > 0 {
		return fmt.Errorf("%d workers of this outbox run, such as %s; stop them first, because they read the namespace when they start", len(workers), workers[0].Name)
	}
	before, now, err := m.NewNamespace(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return p.json(bson.D{{Key: "namespace", Value: now}, {Key: "before", Value: before}})
	}
	_, err = fmt.Fprintf(p.out, "The namespace is %s now; it was %s.\n", now, before)
	return err
}

func (c migrateCmd) up(ctx context.Context, p *program, m *migrations.Migrator) error {
	applied, err := m.Up(ctx)
	for _, step := range applied {
		if printErr := c.applied(p, step); printErr != nil {
			return printErr
		}
	}
	if err == nil && len(applied) == 0 && !c.JSON {
		_, err = fmt.Fprintln(p.out, nothingToDo)
	}
	if err != nil {
		return err
	}
	return warnOfDeletion(ctx, p.err, m)
}

// warnOfDeletion tells of TTL indexes that a migration leaves as they are, because they are somebody else's.
func warnOfDeletion(ctx context.Context, to io.Writer, m *migrations.Migrator) error {
	found, err := m.Endangered(ctx)
	if err != nil {
		return err
	}
	for _, what := range found {
		if _, err := fmt.Fprintln(to, "outboxd: warning:", what); err != nil {
			return err
		}
	}
	return nil
}

const nothingToDo = "Nothing to do: the schema is up to date."

func (c migrateCmd) plan(ctx context.Context, p *program, m *migrations.Migrator) error {
	steps, err := m.Plan(ctx)
	if err != nil {
		return err
	}
	if err := warnOfDeletion(ctx, p.err, m); err != nil {
		return err
	}
	if len(steps) == 0 && !c.JSON {
		_, err = fmt.Fprintln(p.out, nothingToDo)
		return err
	}
	for _, step := range steps {
		if c.JSON {
			err = p.json(bson.D{{Key: "step", Value: step.Text}, {Key: "command", Value: step.Command}})
		} else {
			_, err = fmt.Fprintln(p.out, term.Wrap("would "+step.Text, ""))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c migrateCmd) applied(p *program, step migrations.Applied) error {
	if c.JSON {
		return p.json(bson.D{{Key: "step", Value: step.Text}, {Key: "command", Value: step.Command}, {Key: "ms", Value: step.Took.Milliseconds()}})
	}
	_, err := fmt.Fprintln(p.out, term.Wrap(fmt.Sprintf("%s (%v)", step.Text, step.Took.Round(time.Millisecond)), ""))
	return err
}

func (c migrateCmd) status(ctx context.Context, p *program, m *migrations.Migrator) error {
	status, err := m.Status(ctx)
	if err != nil {
		return err
	}
	if err := warnOfDeletion(ctx, p.err, m); err != nil {
		return err
	}
	if c.JSON {
		err = statusJSON(p, status)
	} else {
		err = statusTable(p, status)
	}
	return errors.Join(err, status.Refused)
}

func statusJSON(p *program, status migrations.Status) error {
	for _, v := range status.Versions {
		doc := bson.D{{Key: "version", Value: v.Number}, {Key: "name", Value: v.Name}, {Key: "applied_at", Value: nil}}
		if !v.AppliedAt.IsZero() {
			doc[2].Value = v.AppliedAt
			doc = append(doc, bson.E{Key: "by", Value: v.By})
		}
		if err := p.json(doc); err != nil {
			return err
		}
	}
	return nil
}

func statusTable(p *program, status migrations.Status) error {
	style := term.NewStyle(p.out, p.env)
	table := term.NewTable(term.Column{Name: "VERSION", Right: true}, term.Column{Name: "NAME", Flex: true},
		term.Column{Name: "APPLIED"}, term.Column{Name: "BY", Flex: true})
	for _, v := range status.Versions {
		if v.AppliedAt.IsZero() {
			table.Mark(style.Yellow, fmt.Sprint(v.Number), v.Name, "not yet")
			continue
		}
		table.Row(fmt.Sprint(v.Number), v.Name, instant(v.AppliedAt), v.By)
	}
	if err := table.Write(p.out, style); err != nil {
		return err
	}
	for _, step := range status.Pending {
		if _, err := fmt.Fprintln(p.out, term.Wrap("pending: "+step.Text, "")); err != nil {
			return err
		}
	}
	if r := status.Running; r != nil {
		_, err := fmt.Fprintln(p.out, term.Wrap(fmt.Sprintf("%s is migrating, under a lease until %s", r.Owner, instant(r.Until)), ""))
		return err
	}
	return nil
}

// instant writes a time for a person.
func instant(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }
