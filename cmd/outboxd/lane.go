package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/admin"
	"github.com/outboxd/outboxd/cmd/internal/config"
	"github.com/outboxd/outboxd/cmd/internal/term"
)

type laneCmd struct {
	List   laneListCmd   `cmd:"" help:"List the lanes, with what all workers know of them."`
	Pause  lanePauseCmd  `cmd:"" help:"Stop a lane on every worker; calls under way end."`
	Resume laneResumeCmd `cmd:"" help:"End a pause or a hold of a lane, on every worker."`
	Rate   laneRateCmd   `cmd:"" help:"Slow a lane down to a rate, on all workers together, or take that back."`
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

type laneListCmd struct {
	mongoFlags
	outputFlag
	JSON bool `help:"One JSON object for each: {kind, state, why, until, rate, workers, in_flight, since, next_probe, remedy, limit, limit_why}."`
}

func (laneListCmd) Help() string {
	return `What all workers share of each lane: of a held one since when, of a gated or broken one until when, which is also when the next
probe may go, and what a person can do. RATE is what the lane keeps to; where a person set it, a line below says why.

  outboxd lane list`
}

func (c laneListCmd) Run(p *program) error {
	return p.withDesk(func(ctx context.Context, d *desk) error {
		lanes, err := d.Lanes(ctx, d.actor)
		if err != nil {
			return err
		}
		if form := c.form(c.JSON); form != formTable {
			for _, l := range lanes {
				if err := p.object(form, laneDoc(l)); err != nil {
					return err
				}
			}
			return nil
		}
		return laneTable(p, lanes, d.store.Now())
	})
}

func laneDoc(l admin.Lane) bson.D {
	return bson.D{{Key: "kind", Value: l.Kind}, {Key: "state", Value: l.State}, {Key: "why", Value: orNull(l.Why)}, {Key: "until", Value: orNone(l.Until)},
		{Key: "rate", Value: orNull(l.Rate)}, {Key: "workers", Value: l.Workers}, {Key: "in_flight", Value: l.InFlight},
		{Key: "since", Value: orNone(l.Since)}, {Key: "next_probe", Value: orNone(l.Until)}, {Key: "remedy", Value: orNull(l.Remedy)},
		{Key: "limit", Value: orNull(l.Limit)}, {Key: "limit_why", Value: orNull(l.LimitWhy)}}
}

func laneTable(p *program, lanes []admin.Lane, now time.Time) error {
	style := term.NewStyle(p.out, p.env)
	table := term.NewTable(term.Column{Name: "KIND"}, term.Column{Name: "STATE"}, term.Column{Name: "RATE", Right: true}, term.Column{Name: "WORKERS", Right: true},
		term.Column{Name: "IN FLIGHT", Right: true}, term.Column{Name: "SINCE, UNTIL"}, term.Column{Name: "WHY", Flex: true, Whole: true})
	for _, l := range lanes {
		mark := style.Yellow
		if l.State == admin.LaneOpen {
			mark = nil
		}
		table.Mark(mark, l.Kind, l.State, cmp.Or(l.EffectiveRate(), "unlimited"), strconv.Itoa(l.Workers), strconv.Itoa(l.InFlight), laneTimes(l, now), l.Why)
	}
	if err := table.Write(p.out, style); err != nil {
		return err
	}
	for _, l := range lanes {
		for _, line := range laneLines(l, now) {
			if _, err := fmt.Fprintln(p.out, term.Wrap(l.Kind+": "+line, "")); err != nil {
				return err
			}
		}
	}
	return nil
}

// laneLines says what a person can do about a lane, and why it is slowed down.
func laneLines(l admin.Lane, now time.Time) (lines []string) {
	if l.Remedy != "" {
		lines = append(lines, l.Remedy+" "+probeText(l, now))
	}
	if l.Slowed() {
		lines = append(lines, fmt.Sprintf("slowed down from %s to %s: %s. `outboxd lane rate %s off` ends it.", cmp.Or(l.Rate, "unlimited"), l.Limit, l.LimitWhy, l.Kind))
	}
	return lines
}

// laneTimes says since when a lane stands, or until when.
func laneTimes(l admin.Lane, now time.Time) string {
	switch {
	case !l.Since.IsZero():
		return "since " + instant(l.Since) + " (" + ago(now.Sub(l.Since)) + ")"
	case !l.Until.IsZero():
		return "until " + instant(l.Until) + " (in " + ago(l.Until.Sub(now)) + ")"
	default:
		return ""
	}
}

// probeText says when the next probe goes. Of a held lane each worker knows that for itself alone.
func probeText(l admin.Lane, now time.Time) string {
	switch {
	case l.State == admin.LaneHeld:
		return "The next probe goes within a minute."
	case !l.Until.IsZero():
		return "The next probe goes in " + ago(l.Until.Sub(now)) + "."
	default:
		return ""
	}
}

// ago writes a length of time for people: in seconds below an hour, else in minutes.
func ago(d time.Duration) string {
	if d = max(0, d).Round(time.Second); d < time.Hour {
		return d.String()
	}
	return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
}

// laneKind is a lane that a person names. Only one that is known can be meant: a typing error must not look as if it
// had stopped something.
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
	Kind laneKind `arg:"" predictor:"kind" help:"charge, email, sms, or a kind that a live worker serves."`
	Why  string   `placeholder:"TEXT" required:"" help:"Why, for the people who will see it."`
	By   string   `placeholder:"NAME" help:"Who pauses it. Default: $$USER and the host's name."`
}

func (lanePauseCmd) Help() string {
	return `Calls under way end, and what waits stays pending without losing an attempt. The audit records it.

  outboxd lane pause sms --why "provider maintenance until 14:00"`
}

func (c lanePauseCmd) Run(p *program) error {
	if strings.TrimSpace(c.Why) == "" {
		return wrongUse("flag --why: must say why; the people who find the lane paused will ask")
	}
	if err := config.Join(note("why", c.Why), note("by", c.By)); err != nil {
		return err
	}
	return p.withLanes(c.By, func(ctx context.Context, d *desk) error {
		if err := c.Kind.told(d.PauseLane(ctx, d.actor, string(c.Kind), c.Why)); err != nil {
			return err
		}
		_, err := fmt.Fprintf(p.out, "Lane %s is paused; every worker knows within a second. `outboxd lane resume %s` ends it.\n", c.Kind, c.Kind)
		return err
	})
}

type laneResumeCmd struct {
	mongoFlags
	Kind laneKind `arg:"" predictor:"kind" help:"charge, email, sms, or a kind that a live worker serves."`
	Why  string   `placeholder:"TEXT" help:"Why, for the audit."`
	By   string   `placeholder:"NAME" help:"Who resumes it. Default: $$USER and the host's name."`
}

func (laneResumeCmd) Help() string {
	return `Ends a pause or a hold on every worker. It says whether there was one. The audit records it.

  outboxd lane resume sms --why "the provider is back"`
}

func (c laneResumeCmd) Run(p *program) error {
	if err := config.Join(note("why", c.Why), note("by", c.By)); err != nil {
		return err
	}
	return p.withLanes(c.By, func(ctx context.Context, d *desk) error {
		stood, err := d.ResumeLane(ctx, d.actor, string(c.Kind), orNoReason(c.Why))
		if err := c.Kind.told(err); err != nil {
			return err
		}
		text := "Lane %s is neither paused nor held; every worker knows within a second.\n"
		if !stood {
			text = "Lane %s is neither paused nor held, and was not before.\n"
		}
		_, err = fmt.Fprintf(p.out, text, c.Kind)
		return err
	})
}

// withLanes runs a command that changes a lane as the person that by names.
func (p *program) withLanes(by string, do func(context.Context, *desk) error) error {
	return p.withDesk(func(ctx context.Context, d *desk) error {
		d.actor.Who = cmp.Or(by, d.actor.Who)
		return do(ctx, d)
	})
}

// told says of a lane that there is none what kinds there are: it is a typing error.
func (k laneKind) told(err error) error {
	if e, ok := errors.AsType[*admin.Error](err); ok && e.Code == admin.LaneUnknown {
		return cmp.Or(k.check(), err)
	}
	return err
}

// person names who gives a command, as well as the environment tells.
func (p *program) person() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return cmp.Or(p.env("USER"), p.env("LOGNAME"), "somebody") + "@" + host
}
