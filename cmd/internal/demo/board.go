package demo

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/cmd/internal/term"
)

const (
	boardEvery = 250 * time.Millisecond // on a terminal, where lines are written over
	lineEvery  = time.Second            // elsewhere
)

// kinds in the order in which they are shown, and who carries them out.
var kinds = []struct{ name, provider string }{{"charge", "stripe"}, {"email", "sendgrid"}, {"sms", "twilio"}}

// counts is how many intents of one kind are where.
type counts struct{ waiting, again, leased, done, dead, cancelled int }

// look counts the intents by kind.
func (s *stage) look(ctx context.Context) (map[string]*counts, error) {
	cursor, err := s.outbox().Aggregate(ctx, bson.A{bson.D{{Key: "$group", Value: bson.D{
		{Key: "_id", Value: bson.D{{Key: "kind", Value: "$kind"}, {Key: "status", Value: "$status"},
			{Key: "again", Value: bson.D{{Key: "$gt", Value: bson.A{bson.D{{Key: "$ifNull", Value: bson.A{"$attempts", 0}}}, 0}}}}}},
		{Key: "n", Value: bson.D{{Key: "$sum", Value: 1}}},
	}}}})
	if err != nil {
		return nil, fmt.Errorf("count the intents: %w", err)
	}
	var rows []struct {
		ID struct {
			Kind, Status string
			Again        bool
		} `bson:"_id"`
		N int
	}
	if err := cursor.All(ctx, &rows); err != nil {
		return nil, fmt.Errorf("count the intents: %w", err)
	}
	all := make(map[string]*counts)
	for _, kind := range kinds {
		all[kind.name] = new(counts)
	}
	for _, row := range rows {
		c := all[row.ID.Kind]
		if c == nil {
			continue
		}
		switch {
		case row.ID.Status == "pending" && row.ID.Again:
			c.again += row.N
		case row.ID.Status == "pending":
			c.waiting += row.N
		case row.ID.Status == "leased":
			c.leased += row.N
		case row.ID.Status == "done":
			c.done += row.N
		case row.ID.Status == "dead":
			c.dead += row.N
		case row.ID.Status == "cancelled":
			c.cancelled += row.N
		}
	}
	return all, nil
}

// effects counts the effects by provider.
func (s *stage) effects() map[string]int {
	n := make(map[string]int)
	for _, e := range s.sims.Sim.Effects() {
		n[e.Provider]++
	}
	return n
}

// board shows where the intents are: a table that is written over on a terminal, else a line from time to time.
type board struct {
	out      io.Writer
	style    term.Style
	terminal bool
	began    time.Time
	drawn    int // lines of the table that stands there now
	last     string
}

func (b *board) every() time.Duration {
	if b.terminal {
		return boardEvery
	}
	return lineEvery
}

func (b *board) show(all map[string]*counts, effects map[string]int) error {
	if !b.terminal {
		return b.line(all, effects)
	}
	table := term.NewTable(term.Column{Name: "KIND"}, term.Column{Name: "WAITING", Right: true}, term.Column{Name: "TO TRY AGAIN", Right: true},
		term.Column{Name: "LEASED", Right: true}, term.Column{Name: "DONE", Right: true}, term.Column{Name: "DEAD", Right: true},
		term.Column{Name: "CANCELLED", Right: true}, term.Column{Name: "EFFECTS", Right: true})
	for _, kind := range kinds {
		c := all[kind.name]
		table.Row(kind.name, strconv.Itoa(c.waiting), strconv.Itoa(c.again), strconv.Itoa(c.leased), strconv.Itoa(c.done), strconv.Itoa(c.dead),
			strconv.Itoa(c.cancelled), strconv.Itoa(effects[kind.provider]))
	}
	var text strings.Builder
	if b.drawn > 0 {
		fmt.Fprintf(&text, "\x1b[%dA\x1b[J", b.drawn) // up, and clear from there
	}
	fmt.Fprintf(&text, "%s\n", b.style.Dim(fmt.Sprintf("%5.1f s", time.Since(b.began).Seconds())))
	if err := table.Write(&text, b.style); err != nil {
		return err
	}
	b.drawn = 2 + len(kinds)
	_, err := io.WriteString(b.out, text.String())
	return err
}

// line is the board without a terminal; the same line is not written twice.
func (b *board) line(all map[string]*counts, effects map[string]int) error {
	var parts []string
	for _, kind := range kinds {
		c := all[kind.name]
		parts = append(parts, fmt.Sprintf("%s %d open %d done %d dead", kind.name, c.waiting+c.again+c.leased, c.done, c.dead))
	}
	text := strings.Join(parts, " · ")
	if text == b.last {
		return nil
	}
	b.last = text
	_, err := fmt.Fprintf(b.out, "%4.0f s  %s\n", time.Since(b.began).Seconds(), text)
	return err
}
