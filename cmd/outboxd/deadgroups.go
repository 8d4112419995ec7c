package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/admin"
	"github.com/outboxd/outboxd/cmd/internal/term"
	"github.com/outboxd/outboxd/outbox"
)

type deadGroupsCmd struct {
	mongoFlags
	outputFlag
	Kind string `placeholder:"KIND" predictor:"kind" help:"Of this kind."`
	JSON bool   `help:"One JSON object for each: {kind, dead_reason, code, provider_code, count, more, first, last, example}."`
}

func (deadGroupsCmd) Help() string {
	return `Groups the dead letters by kind, reason and code, the largest group first. A count stops at a thousand ("1,000+", "more" in JSON),
so that this is quick whatever lies there. The flags of the other commands choose a group:

  outboxd dead groups
  outboxd dead list --kind charge --reason permanent --code declined`
}

func (c deadGroupsCmd) Run(p *program) error {
	return p.withDesk(func(ctx context.Context, d *desk) error {
		groups, err := d.Groups(ctx, d.actor, c.Kind)
		if err != nil {
			return err
		}
		if form := c.form(c.JSON); form != formTable {
			for _, g := range groups {
				if err := p.object(form, groupDoc(g)); err != nil {
					return err
				}
			}
			return nil
		}
		return c.table(p, groups)
	})
}

func groupDoc(g outbox.Group) bson.D {
	example := any(nil)
	if !g.Example.IsZero() {
		example = bsonID(g.Example)
	}
	return bson.D{{Key: "kind", Value: g.Kind}, {Key: "dead_reason", Value: orNull(string(g.Reason))}, {Key: "code", Value: orNull(g.Code)},
		{Key: "provider_code", Value: orNull(g.ProviderCode)}, {Key: "count", Value: g.Count.N}, {Key: "more", Value: g.Count.Capped},
		{Key: "first", Value: orNone(g.First)}, {Key: "last", Value: orNone(g.Last)}, {Key: "example", Value: example}}
}

// bsonID is an _id as it stands in the database.
func bsonID(id outbox.ID) any {
	switch id.Type() {
	case outbox.ObjectID:
		return bson.ObjectID(id.Bytes())
	case outbox.UUIDBinary:
		return bson.Binary{Subtype: bson.TypeBinaryUUID, Data: id.Bytes()}
	default:
		return id.String()
	}
}

func (c deadGroupsCmd) table(p *program, groups []outbox.Group) error {
	if len(groups) == 0 {
		_, err := fmt.Fprintln(p.out, "There are no dead letters."+kindHint(c.Kind))
		return err
	}
	table := term.NewTable(term.Column{Name: "COUNT", Right: true}, term.Column{Name: "KIND"}, term.Column{Name: "REASON"}, term.Column{Name: "CODE"},
		term.Column{Name: "FIRST (UTC)"}, term.Column{Name: "LAST (UTC)"}, term.Column{Name: "EXAMPLE", Flex: true, Whole: true})
	at := func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") }
	for _, g := range groups {
		table.Row(admin.Figure(g.Count), g.Kind, string(g.Reason), strings.TrimSpace(g.Code+" "+g.ProviderCode), at(g.First), at(g.Last), g.Example.String())
	}
	return table.Write(p.out, term.NewStyle(p.out, p.env))
}
