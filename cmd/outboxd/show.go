package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/cmd/internal/term"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store"
)

type showCmd struct {
	mongoFlags
	ID   string `arg:"" help:"The intent's _id: an ObjectId's hex, a UUID, or the string."`
	JSON bool   `help:"The whole document, payload included, as one line of JSON."`
}

func (showCmd) Help() string {
	return `Shows one intent of any status: where it stands, and what happened to it, the oldest first. The payload is left out, since it holds
your customers' data; --json and ` + "`outboxd dead show`" + ` have it.`
}

func (c showCmd) Run(p *program) error {
	return p.withStore(func(ctx context.Context, s *store.Store) error {
		raw, err := s.Get(ctx, c.ID)
		if err != nil {
			return err
		}
		if c.JSON {
			return p.json(raw)
		}
		in, err := s.Intent(raw)
		if err != nil {
			return fmt.Errorf("read the intent %s: %w", idText(raw.Lookup("_id")), err)
		}
		return showLife(p, raw, in)
	})
}

// showLife writes an intent's life for a person: nothing of its payload.
func showLife(p *program, raw bson.Raw, in *outbox.Intent) error {
	style := term.NewStyle(p.out, p.env)
	var head strings.Builder
	fmt.Fprintf(&head, "%s\n%s\n", style.Bold(term.Cut(term.Clean(in.Kind+" "+idText(raw.Lookup("_id"))), term.Width)), style.Yellow(term.Clean(standing(in))))
	if code := text(raw, "last_error", "code"); code != "" {
		head.WriteString(term.Wrap(term.Clean("last error "+code+": "+text(raw, "last_error", "message")), "  ") + "\n")
	}
	facts := []string{fmt.Sprintf("attempts %d", in.Attempts)}
	if in.Generation > 0 {
		facts = append(facts, fmt.Sprintf("generation %d", in.Generation))
	}
	if !in.AmbiguousAt.IsZero() {
		facts = append(facts, "ambiguous since "+instant(in.AmbiguousAt))
	}
	if id := text(raw, "result", "id"); id != "" {
		facts = append(facts, "result "+text(raw, "result", "provider")+" "+id)
	}
	if v := text(raw, "resolved", "verdict"); v != "" {
		facts = append(facts, "answered "+v+" by "+text(raw, "resolved", "by"))
	}
	head.WriteString(term.Wrap(term.Clean(strings.Join(facts, ", ")), "  ") + "\n\n")
	if _, err := p.out.Write([]byte(head.String())); err != nil {
		return err
	}
	table := term.NewTable(term.Column{Name: "AT"}, term.Column{Name: "WHAT"}, term.Column{Name: "OUTCOME"}, term.Column{Name: "DETAILS", Flex: true})
	for _, e := range timeline(raw, in) {
		at := "-"
		if !e.at.IsZero() {
			at = instant(e.at)
		}
		table.Row(at, term.Clean(e.what), term.Clean(e.outcome), term.Clean(e.details))
	}
	return table.Write(p.out, style)
}

// standing says where an intent stands.
func standing(in *outbox.Intent) string {
	status := string(in.Status)
	switch {
	case in.Outcome != nil:
		status += ": its outcome is known and waits to be written (" + cmp.Or(in.Outcome.Why, "not tried yet") + ")"
	case in.Status == outbox.StatusPending:
		status += ", due " + instant(in.DueAt)
	case in.Status == outbox.StatusLeased:
		status += " by " + in.Lease.Owner + " until " + instant(in.DueAt)
	case in.Status == outbox.StatusDead:
		status += ": " + string(in.DeadReason)
	}
	return status
}

// moment is one line of an intent's life.
type moment struct {
	at                     time.Time // zero: not known
	after                  time.Time // where it stands among the others
	what, outcome, details string
}

// timeline returns what happened to an intent, the oldest first. What has no instant stays beside what it was written
// with.
func timeline(raw bson.Raw, in *outbox.Intent) []moment {
	var life []moment
	add := func(field, what, details string) {
		if at, ok := raw.Lookup(field).TimeOK(); ok {
			life = append(life, moment{at: at.UTC(), what: what, details: details})
		}
	}
	add("created_at", "created", "")
	add("first_due_at", "first due", "")
	for _, r := range in.History {
		life = append(life, momentOf(r))
	}
	add("done_at", "done", "")
	add("dead_at", "dead", string(in.DeadReason))
	add("cancelled_at", "cancelled", "")
	for i := range life {
		life[i].after = life[i].at
		if i > 0 && life[i].at.IsZero() {
			life[i].after = life[i-1].after
		}
	}
	slices.SortStableFunc(life, func(a, b moment) int { return a.after.Compare(b.after) })
	return life
}

// momentOf makes one line of a record of history.
func momentOf(r outbox.Record) moment {
	m := moment{at: r.At, what: string(r.What), outcome: string(r.Outcome)}
	if r.Attempt > 0 {
		m.what += " " + strconv.Itoa(r.Attempt)
	}
	var details []string
	add := func(words ...string) {
		if !slices.Contains(words, "") {
			details = append(details, strings.Join(words, " "))
		}
	}
	add(r.Code)
	add(r.ProviderCode)
	if r.HTTPStatus > 0 {
		add("HTTP " + strconv.Itoa(r.HTTPStatus))
	}
	add(r.Ref)
	add("request", r.RequestID)
	add("by", cmp.Or(r.By, r.Worker))
	add(r.Why)
	if r.N > 1 {
		add(fmt.Sprintf("%d times since %s", r.N, instant(r.First)))
	}
	m.details = strings.Join(details, ", ")
	return m
}
