package main

import (
	"context"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/cmd/internal/term"
	"github.com/outboxd/outboxd/migrations"
)

type migrateCmd struct {
	mongoFlags
	Action string `arg:"" optional:"" enum:"up,status" default:"up" help:"up applies what is missing; status prints what is applied and what is not. Default: ${default}."`
	DryRun bool   `help:"Print the steps and change nothing."`
	JSON   bool   `help:"One JSON object a line: {step, command, ms}; of status {version, name, applied_at, by}."`
}

func (migrateCmd) Help() string {
	return `Creates or brings up to date the collection of intents with its validator and indexes, the view of dead letters, and the
side collections. It is safe to run again, from several machines at once, and beside running producers and workers.`
}

func (c migrateCmd) Run(p *program) error {
	if c.Action == "status" && c.DryRun {
		return wrongUse("flag --dry-run: means nothing with status, which changes nothing")
	}
	return p.withMigrator(func(ctx context.Context, m *migrations.Migrator) error {
		switch {
		case c.Action == "status":
			return c.status(ctx, p, m)
		case c.DryRun:
			return c.plan(ctx, p, m)
		default:
			return c.up(ctx, p, m)
		}
	})
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
	return err
}

const nothingToDo = "Nothing to do: the schema is up to date."

func (c migrateCmd) plan(ctx context.Context, p *program, m *migrations.Migrator) error {
	steps, err := m.Plan(ctx)
	if err != nil {
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
	if c.JSON {
		return statusJSON(p, status)
	}
	return statusTable(p, status)
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
