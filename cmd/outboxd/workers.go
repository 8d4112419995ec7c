package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/cmd/internal/term"
	"github.com/outboxd/outboxd/outbox"
)

type workersCmd struct {
	mongoFlags
	outputFlag
	JSON bool `help:"One JSON object for each: {_id, version, started, seen, kinds, in_flight}."`
}

func (workersCmd) Help() string {
	return `Lists the processes that carry out intents: since when, of which version, and how many calls each has under way.

  outboxd workers`
}

func (c workersCmd) Run(p *program) error {
	return p.withDesk(func(ctx context.Context, d *desk) error {
		workers, err := d.Workers(ctx, d.actor)
		if err != nil {
			return err
		}
		slices.SortFunc(workers, func(a, b outbox.Worker) int { return strings.Compare(a.Name, b.Name) })
		if form := c.form(c.JSON); form != formTable {
			for _, w := range workers {
				if err := p.object(form, workerDoc(w)); err != nil {
					return err
				}
			}
			return nil
		}
		if len(workers) == 0 {
			_, err := fmt.Fprintln(p.out, "No worker is alive.")
			return err
		}
		now := d.store.Now()
		table := term.NewTable(term.Column{Name: "WORKER"}, term.Column{Name: "VERSION"}, term.Column{Name: "STARTED"}, term.Column{Name: "SEEN"},
			term.Column{Name: "CALLS UNDER WAY", Flex: true, Whole: true})
		for _, w := range workers {
			var calls []string
			for _, kind := range w.Kinds {
				calls = append(calls, fmt.Sprintf("%s %d", kind, w.InFlight[kind]))
			}
			table.Row(w.Name, w.Version, instant(w.Started), ago(now.Sub(w.Seen))+" ago", strings.Join(calls, ", "))
		}
		return table.Write(p.out, term.NewStyle(p.out, p.env))
	})
}

func workerDoc(w outbox.Worker) bson.D {
	calls := bson.D{}
	for _, kind := range w.Kinds {
		calls = append(calls, bson.E{Key: kind, Value: w.InFlight[kind]})
	}
	return bson.D{{Key: "_id", Value: w.Name}, {Key: "version", Value: orNull(w.Version)}, {Key: "started", Value: orNone(w.Started)}, {Key: "seen", Value: orNone(w.Seen)},
		{Key: "kinds", Value: w.Kinds}, {Key: "in_flight", Value: calls}}
}
