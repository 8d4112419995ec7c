package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/cmd/internal/config"
	"github.com/outboxd/outboxd/cmd/internal/term"
	"github.com/outboxd/outboxd/dispatcher"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store"
)

type laneCmd struct {
	List   laneListCmd   `cmd:"" help:"List the lanes, with what all workers know of them."`
	Pause  lanePauseCmd  `cmd:"" help:"Stop a lane on every worker; calls under way end."`
	Resume laneResumeCmd `cmd:"" help:"End a pause or a hold of a lane, on every worker."`
}

func (laneCmd) Help() string {
	return `A lane carries out the intents of one kind, on all workers together. Its states:

    open      it works
    paused    a person stopped it
    held      the provider refuses our credentials or account
    gated     the provider asked to wait
    broken    a worker's breaker is open, and the others only probe

While a lane is stopped, its intents stay pending and lose no attempt.`
}

// lane is one lane as all workers share it.
type lane struct {
	kind, state, why string
	until            time.Time // of gated and broken; zero: not known
	rate             string    // empty: unlimited
	workers          int
	inFlight         int
}

// lanes reads the lanes of the kinds that this outboxd knows, of those that live workers serve, and of those that
// somebody left a note about.
func lanes(ctx context.Context, s *store.Store) ([]lane, error) {
	states, err := s.Lanes(ctx)
	if err != nil {
		return nil, err
	}
	workers, err := s.Workers(ctx)
	if err != nil {
		return nil, err
	}
	byKind := make(map[string]*lane)
	add := func(kind string) *lane {
		if byKind[kind] == nil {
			byKind[kind] = &lane{kind: kind, state: dispatcher.StateOpen}
		}
		return byKind[kind]
	}
	for _, l := range config.DefaultLanes() {
		add(l.Kind)
	}
	for kind, state := range states {
		add(kind).learn(state, s.Now())
	}
	for _, w := range workers {
		for _, kind := range w.Kinds {
			l := add(kind)
			l.workers++
			l.inFlight += w.InFlight[kind]
		}
	}
	list := make([]lane, 0, len(byKind))
	for _, kind := range slices.Sorted(maps.Keys(byKind)) {
		list = append(list, *byKind[kind])
	}
	return list, nil
}

// learn takes over what the workers share. Of several reasons the one that lasts longest without a person counts first.
func (l *lane) learn(s outbox.LaneState, now time.Time) {
	l.rate = s.Rate
	switch {
	case s.Paused:
		l.state, l.why = dispatcher.StatePaused, s.Why
		if s.By != "" {
			l.why = strings.TrimSpace(l.why + " (" + s.By + ")")
		}
	case !s.HeldSince.IsZero():
		l.state, l.why = dispatcher.StateHeld, s.HoldCode
	case s.GateUntil.After(now):
		l.state, l.why, l.until = dispatcher.StateGated, "the provider asked to wait", s.GateUntil
	case s.BrokenUntil.After(now):
		l.state, l.why, l.until = dispatcher.StateBroken, "the breaker of "+s.BrokenBy+" is open", s.BrokenUntil
	}
}

type laneListCmd struct {
	mongoFlags
	JSON bool `help:"One JSON object for each: {kind, state, why, until, rate, workers, in_flight}."`
}

func (c laneListCmd) Run(p *program) error {
	return p.withStore(func(ctx context.Context, s *store.Store) error {
		list, err := lanes(ctx, s)
		if err != nil {
			return err
		}
		if c.JSON {
			for _, l := range list {
				if err := p.json(l.doc()); err != nil {
					return err
				}
			}
			return nil
		}
		return laneTable(p, list)
	})
}

func (l lane) doc() bson.D {
	doc := bson.D{{Key: "kind", Value: l.kind}, {Key: "state", Value: l.state}, {Key: "why", Value: nil}, {Key: "until", Value: nil},
		{Key: "rate", Value: nil}, {Key: "workers", Value: l.workers}, {Key: "in_flight", Value: l.inFlight}}
	if l.why != "" {
		doc[2].Value = l.why
	}
	if !l.until.IsZero() {
		doc[3].Value = l.until
	}
	if l.rate != "" {
		doc[4].Value = l.rate
	}
	return doc
}

func laneTable(p *program, list []lane) error {
	style := term.NewStyle(p.out, p.env)
	table := term.NewTable(term.Column{Name: "KIND"}, term.Column{Name: "STATE"}, term.Column{Name: "RATE", Right: true}, term.Column{Name: "WORKERS", Right: true},
		term.Column{Name: "IN FLIGHT", Right: true}, term.Column{Name: "UNTIL"}, term.Column{Name: "WHY", Flex: true, Whole: true})
	for _, l := range list {
		mark, until := style.Yellow, ""
		if l.state == dispatcher.StateOpen {
			mark = nil
		}
		if !l.until.IsZero() {
			until = instant(l.until)
		}
		table.Mark(mark, l.kind, l.state, cmp.Or(l.rate, "unlimited"), strconv.Itoa(l.workers), strconv.Itoa(l.inFlight), until, l.why)
	}
	return table.Write(p.out, style)
}

// laneKind is a lane that a person names. Only kinds that outboxd knows can be meant: a typing error must not look as
// if it had stopped something.
type laneKind string

func (k laneKind) check() error {
	var known []string
	for _, l := range config.DefaultLanes() {
		known = append(known, l.Kind)
	}
	if !slices.Contains(known, string(k)) {
		return wrongUse("%q is no kind; there are %s", string(k), strings.Join(known, ", "))
	}
	return nil
}

type lanePauseCmd struct {
	mongoFlags
	Kind laneKind `arg:"" help:"charge, email or sms."`
	Why  string   `placeholder:"TEXT" required:"" help:"Why, for the people who will see it."`
}

func (c lanePauseCmd) Run(p *program) error {
	if err := c.Kind.check(); err != nil {
		return err
	}
	if strings.TrimSpace(c.Why) == "" {
		return wrongUse("flag --why: must say why; the people who find the lane paused will ask")
	}
	return p.withStore(func(ctx context.Context, s *store.Store) error {
		if err := s.Pause(ctx, string(c.Kind), c.Why, p.person()); err != nil {
			return err
		}
		_, err := fmt.Fprintf(p.out, "Lane %s is paused; every worker knows within a second. `outboxd lane resume %s` ends it.\n", c.Kind, c.Kind)
		return err
	})
}

type laneResumeCmd struct {
	mongoFlags
	Kind laneKind `arg:"" help:"charge, email or sms."`
}

func (c laneResumeCmd) Run(p *program) error {
	if err := c.Kind.check(); err != nil {
		return err
	}
	return p.withStore(func(ctx context.Context, s *store.Store) error {
		if err := s.Resume(ctx, string(c.Kind)); err != nil {
			return err
		}
		_, err := fmt.Fprintf(p.out, "Lane %s is neither paused nor held; every worker knows within a second.\n", c.Kind)
		return err
	})
}

// person names who gives a command, as well as the environment tells.
func (p *program) person() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return cmp.Or(p.env("USER"), p.env("LOGNAME"), "somebody") + "@" + host
}
