package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/admin"
	"github.com/outboxd/outboxd/cmd/internal/term"
	"github.com/outboxd/outboxd/internal/timing"
	"github.com/outboxd/outboxd/outbox"
)

// censusOld is from when on a census is no answer to how the outbox stands. Workers that have nothing to do take one a
// minute.
const censusOld = 2 * time.Minute

// ratesOver is the time over which rates are told.
const ratesOver = 5 * time.Minute

// census shows the figures of the workers' census. It reports whether there is one that is not too old, unless the flag
// asks for any.
func (c statsCmd) census(ctx context.Context, p *program, d *desk) (fresh bool, err error) {
	for first := true; ; first = false {
		view, err := d.Overview(ctx, d.actor)
		switch {
		case ctx.Err() != nil && !first:
			return true, nil //nolint:nilerr // Told to end: what the question met meanwhile is no matter.
		case err != nil:
			return false, err
		case c.Census && view.Age < 0:
			return false, errors.New("there is no census: no worker has taken one yet; `outboxd stats --exact` counts")
		case first && !c.Census && (view.Age < 0 || view.Age > censusOld):
			return false, nil
		}
		if err := c.printCensus(p, view); err != nil || !c.Watch {
			return true, err
		}
		if timing.Sleep(ctx, watchEvery) != nil {
			return true, nil //nolint:nilerr // Told to end.
		}
	}
}

func (c statsCmd) printCensus(p *program, view admin.Overview) error {
	if form := c.form(c.JSON); form != formTable {
		for _, card := range view.Cards {
			if err := p.object(form, censusDoc(view, card)); err != nil {
				return err
			}
		}
		return nil
	}
	var text strings.Builder
	if c.Watch && term.IsTerminal(p.out) {
		text.WriteString("\x1b[H\x1b[2J") // from the top of an empty screen
	}
	if err := censusTable(view).Write(&text, term.NewStyle(p.out, p.env)); err != nil {
		return err
	}
	fmt.Fprintf(&text, "Counted by a worker %s ago, up to %s of each; --exact counts all.\n", ago(view.Age), admin.Figure(outbox.Count{N: outbox.CensusCap}))
	_, err := io.WriteString(p.out, text.String())
	return err
}

// censusTable is the census, a row a kind.
func censusTable(view admin.Overview) *term.Table {
	columns := []term.Column{{Name: "KIND", Flex: true}}
	for _, name := range []string{"WAITING", "DUE", "IN DOUBT", "AMBIGUOUS", "OLDEST DUE", "UNFINISHED", "DONE/MIN", "DEAD/MIN", "WORKERS"} {
		columns = append(columns, term.Column{Name: name, Right: true})
	}
	table := term.NewTable(columns...)
	for _, card := range view.Cards {
		k := card.Census
		done, dead := perMinute(view.At, card.Hour)
		table.Row(card.Kind, admin.Figure(k.Waiting), admin.Figure(k.Due), admin.Figure(k.InDoubt), admin.Figure(k.AmbiguousDead),
			sinceThen(view.At, k.OldestDue), sinceThen(view.At, k.OldestUnfinished), done, dead, strconv.Itoa(card.Workers))
	}
	return table
}

// sinceThen is how long ago an instant was, in words; "-" if there is none.
func sinceThen(now, at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return ago(now.Sub(at))
}

// perMinute are how many were done and died a minute, over the last whole minutes.
func perMinute(now time.Time, hour []outbox.RateMinute) (done, dead string) {
	var sum outbox.RateCounters
	until := now.Truncate(time.Minute)
	for _, m := range hour {
		if !m.Minute.Before(until.Add(-ratesOver)) && m.Minute.Before(until) {
			sum.Add(m.RateCounters)
		}
	}
	minutes := ratesOver.Minutes()
	return fmt.Sprintf("%.1f", float64(sum.Done)/minutes), fmt.Sprintf("%.1f", float64(sum.Dead)/minutes)
}

func censusDoc(view admin.Overview, card admin.Card) bson.D {
	k := card.Census
	age := func(at time.Time) any {
		if at.IsZero() {
			return nil
		}
		return max(0, view.At.Sub(at).Seconds())
	}
	all := k.Waiting.Capped || k.Due.Capped || k.Scheduled.Capped || k.InDoubt.Capped || k.AmbiguousDead.Capped || k.Unwritten.Capped
	return bson.D{{Key: "kind", Value: card.Kind}, {Key: "waiting", Value: k.Waiting.N}, {Key: "due", Value: k.Due.N}, {Key: "scheduled", Value: k.Scheduled.N},
		{Key: "in_doubt", Value: k.InDoubt.N}, {Key: "ambiguous_dead", Value: k.AmbiguousDead.N}, {Key: "unwritten", Value: k.Unwritten.N}, {Key: "workers", Value: card.Workers},
		{Key: "oldest_due_age_s", Value: age(k.OldestDue)}, {Key: "oldest_unfinished_age_s", Value: age(k.OldestUnfinished)}, {Key: "capped", Value: all},
		{Key: "age_s", Value: view.Age.Seconds()}}
}
