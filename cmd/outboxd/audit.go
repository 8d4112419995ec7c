package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/cmd/internal/config"
	"github.com/outboxd/outboxd/cmd/internal/term"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store"
)

type auditCmd struct {
	mongoFlags
	outputFlag
	Who    string `placeholder:"NAME" help:"What this person did."`
	On     string `placeholder:"TEXT" help:"On this intent, or this lane."`
	Op     string `placeholder:"OP" help:"retry, resolve, cancel, discard, reveal, export, pause, resume, plan, start, stop, approve, …"`
	Job    string `placeholder:"JOB" help:"That belong to this job."`
	Since  string `placeholder:"TIME" help:"Since then: a duration such as 24h or 7d, or an RFC 3339 instant."`
	Limit  int    `placeholder:"N" default:"50" help:"At most so many, 1 to 500. Default: ${default}."`
	Before string `placeholder:"RECORD" help:"The page after the one that told this."`
	JSON   bool   `help:"One JSON object for each: {_id, at, who, via, from, op, on, why, before, after, outcome, code, job}."`
}

func (auditCmd) Help() string {
	return `Lists what people did through the page, the API and these commands, the newest first: also what was refused, and who looked at
payloads. "Begun" is what was not seen to end: it may have happened.

  outboxd audit --since 24h
  outboxd audit --on order-7`
}

func (c auditCmd) Run(p *program) error {
	if c.Limit < 1 || c.Limit > 500 {
		return wrongUse("flag --limit: is %d, must be 1 to 500", c.Limit)
	}
	if c.Since != "" {
		if _, err := since(c.Since, time.Time{}); err != nil {
			return config.Problems{{Where: "flag --since", Text: err.Error()}}
		}
	}
	return p.withDesk(func(ctx context.Context, d *desk) error {
		filter := outbox.ActFilter{Who: c.Who, On: c.On, Op: c.Op, Job: c.Job, Before: c.Before, Limit: c.Limit}
		if c.Since != "" {
			filter.Since, _ = since(c.Since, d.store.Now())
		}
		acts, err := d.Acts(ctx, d.actor, filter)
		if errors.Is(err, store.ErrCursor) {
			return wrongUse("flag --before: %w", err)
		}
		if err != nil {
			return err
		}
		if form := c.form(c.JSON); form != formTable {
			for _, a := range acts {
				if err := p.object(form, actDoc(a)); err != nil {
					return err
				}
			}
			return nil
		}
		return c.table(p, acts)
	})
}

func actDoc(a outbox.Act) bson.D {
	id, err := bson.ObjectIDFromHex(a.ID)
	doc := bson.D{{Key: "_id", Value: id}}
	if err != nil { // of another store
		doc[0].Value = a.ID
	}
	doc = append(doc, bson.E{Key: "at", Value: orNone(a.At)})
	for _, f := range []struct{ name, text string }{{"who", a.Who}, {"via", a.Via}, {"from", a.From}, {"op", a.Op}, {"on", a.On}, {"why", a.Why}, {"before", a.Before},
		{"after", a.After}, {"outcome", a.Outcome}, {"code", a.Code}, {"job", a.Job}} {
		doc = append(doc, bson.E{Key: f.name, Value: orNull(f.text)})
	}
	return doc
}

func (c auditCmd) table(p *program, acts []outbox.Act) error {
	if len(acts) == 0 {
		_, err := fmt.Fprintln(p.out, "No record fits.")
		return err
	}
	table := term.NewTable(term.Column{Name: "AT (UTC)"}, term.Column{Name: "WHO"}, term.Column{Name: "OP"}, term.Column{Name: "ON", Whole: true, Flex: true},
		term.Column{Name: "OUTCOME"}, term.Column{Name: "WHY", Flex: true, Whole: true})
	for _, a := range acts {
		table.Row(a.At.UTC().Format(time.DateTime), a.Who, a.Op, a.On, strings.TrimSpace(a.Outcome+" "+a.Code), a.Why)
	}
	if err := table.Write(p.out, term.NewStyle(p.out, p.env)); err != nil || len(acts) < c.Limit {
		return err
	}
	_, err := fmt.Fprintf(p.out, "There is more: the same command with --before %s\n", acts[len(acts)-1].ID)
	return err
}
