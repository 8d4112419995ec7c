package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/cmd/internal/term"
	"github.com/outboxd/outboxd/store"
)

// watchEvery is how often --watch counts, at least: counting reads the whole collection, so that it may take a tenth
// of the time at most.
const (
	watchEvery = 2 * time.Second
	watchShare = 10
)

type statsCmd struct {
	mongoFlags
	outputFlag
	JSON   bool `help:"One JSON object for each kind: {kind, pending, due, leased, done, dead, cancelled, oldest_due_age_s}. It counts exactly, unless --census is given."`
	Watch  bool `help:"Look again every two seconds, and show rates, until an interrupt."`
	Census bool `help:"The figures of the workers' last census, even if it is old: {kind, waiting, due, scheduled, in_doubt, ambiguous_dead, unwritten, workers, …_age_s, capped, age_s}." xor:"source"`
	Exact  bool `help:"Count all intents, which reads the whole collection." xor:"source"`
}

func (statsCmd) Help() string {
	return `Shows the figures that the workers keep: they count every few seconds while something waits, up to ten thousand ("10,000+"). That costs
nothing, whatever lies in the outbox. Where no census was taken within two minutes, and for --json and --output, all intents are
counted, which reads the whole collection. "Due" are those that a claim would take now. For alerts use a worker's /metrics.

  outboxd stats
  outboxd stats --exact --watch`
}

func (c statsCmd) Run(p *program) error {
	return p.withDesk(func(ctx context.Context, d *desk) error {
		s := d.store
		if c.Census || !c.Exact && c.form(c.JSON) == formTable {
			fresh, err := c.census(ctx, p, d)
			if err != nil || fresh {
				return err
			}
		}
		began := time.Now()
		last, err := s.Stats(ctx)
		if err != nil {
			return err
		}
		if err := c.print(p, nil, last, 0); err != nil {
			return err
		}
		for c.Watch {
			took := time.Since(began)
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(max(watchEvery, watchShare*took)):
			}
			since := time.Since(began)
			began = time.Now()
			next, err := s.Stats(ctx)
			switch {
			case ctx.Err() != nil:
				return nil //nolint:nilerr // Told to end: what the question met meanwhile is no matter.
			case err != nil:
				return err
			}
			if err := c.print(p, last, next, since); err != nil {
				return err
			}
			last = next
		}
		return nil
	})
}

// print writes one count. before is the count made the given time earlier, nil if there is none.
func (c statsCmd) print(p *program, before, now []store.KindStats, since time.Duration) error {
	if form := c.form(c.JSON); form != formTable {
		for _, k := range now {
			if err := p.object(form, statsDoc(k)); err != nil {
				return err
			}
		}
		return nil
	}
	var text strings.Builder
	style := term.NewStyle(p.out, p.env)
	if c.Watch && term.IsTerminal(p.out) {
		text.WriteString("\x1b[H\x1b[2J") // from the top of an empty screen
	}
	if err := statsTable(before, now, since, c.Watch).Write(&text, style); err != nil {
		return err
	}
	if len(now) == 0 {
		text.WriteString("There are no intents.\n")
	}
	_, err := io.WriteString(p.out, text.String())
	return err
}

func statsDoc(k store.KindStats) bson.D {
	return bson.D{
		{Key: "kind", Value: k.Kind}, {Key: "pending", Value: k.Pending}, {Key: "due", Value: k.Due}, {Key: "leased", Value: k.Leased},
		{Key: "done", Value: k.Done}, {Key: "dead", Value: k.Dead}, {Key: "cancelled", Value: k.Cancelled},
		{Key: "oldest_due_age_s", Value: k.OldestDue.Seconds()},
	}
}

func statsTable(before, now []store.KindStats, since time.Duration, rates bool) *term.Table {
	columns := []term.Column{{Name: "KIND", Flex: true}}
	for _, name := range []string{"PENDING", "DUE", "LEASED", "DONE", "DEAD", "CANCELLED", "OLDEST DUE"} {
		columns = append(columns, term.Column{Name: name, Right: true})
	}
	if rates {
		columns = append(columns, term.Column{Name: "DONE/S", Right: true}, term.Column{Name: "DEAD/S", Right: true})
	}
	table := term.NewTable(columns...)
	earlier := make(map[string]store.KindStats)
	for _, k := range before {
		earlier[k.Kind] = k
	}
	for _, k := range now {
		row := []string{k.Kind}
		for _, n := range []int64{k.Pending, k.Due, k.Leased, k.Done, k.Dead, k.Cancelled} {
			row = append(row, strconv.FormatInt(n, 10))
		}
		oldest := "-"
		if k.Due > 0 {
			oldest = k.OldestDue.Round(time.Second).String()
		}
		row = append(row, oldest)
		if rates {
			e := earlier[k.Kind]
			row = append(row, perSecond(k.Done-e.Done, since), perSecond(k.Dead-e.Dead, since))
		}
		table.Row(row...)
	}
	return table
}

// perSecond is a rate between two counts. What was deleted in between makes no negative one.
func perSecond(n int64, since time.Duration) string {
	if since == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f", max(0, float64(n)/since.Seconds()))
}
