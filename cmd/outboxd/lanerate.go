package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/outboxd/outboxd/cmd/internal/config"
	"github.com/outboxd/outboxd/outbox"
)

// rateOff takes a rate back.
const rateOff = "off"

type laneRateCmd struct {
	mongoFlags
	Kind laneKind `arg:"" predictor:"kind" help:"charge, email, sms, or a kind that a live worker serves."`
	Rate string   `arg:"" help:"Calls a second of all workers together: N or N/s; N/m and N/h are for a minute and an hour. off takes it back."`
	Why  string   `placeholder:"TEXT" required:"" help:"Why, for the people who will see it."`
	By   string   `placeholder:"NAME" help:"Who sets it. Default: $$USER and the host's name."`
}

func (laneRateCmd) Help() string {
	return `Slows a lane down while workers run. What is claimed already is still called. A rate that is set so may be lower than the
configured one, never higher. It stays through restarts until it is taken back. The audit records it.

  outboxd lane rate sms 5/s --why "the carrier asked us to"
  outboxd lane rate sms off --why "the carrier is content"`
}

func (c laneRateCmd) Run(p *program) error {
	perSecond, rateErr := c.perSecond()
	var whyErr error
	if strings.TrimSpace(c.Why) == "" {
		whyErr = config.Problems{{Where: "flag --why", Text: "must say why; the people who find the lane slow will ask"}}
	}
	if err := config.Join(rateErr, whyErr, note("why", c.Why), note("by", c.By)); err != nil {
		return err
	}
	return p.withLanes(c.By, func(ctx context.Context, d *desk) error {
		changed, err := d.SetRate(ctx, d.actor, string(c.Kind), perSecond, c.Why)
		if err := c.Kind.told(err); err != nil {
			return err
		}
		text := fmt.Sprintf("Lane %s keeps to %s on all workers together; every worker knows within a second. `outboxd lane rate %s off` ends it.",
			c.Kind, outbox.RateText(perSecond), c.Kind)
		switch {
		case perSecond == 0 && changed:
			text = fmt.Sprintf("Lane %s keeps to its configured rate again; every worker knows within a second.", c.Kind)
		case perSecond == 0:
			text = fmt.Sprintf("Lane %s keeps to its configured rate, and did before.", c.Kind)
		}
		_, err = fmt.Fprintln(p.out, text)
		return err
	})
}

// perSecond is the rate as a number of calls a second; 0 takes it back.
func (c laneRateCmd) perSecond() (float64, error) {
	text := c.Rate
	if text == rateOff {
		return 0, nil
	}
	if !strings.Contains(text, "/") {
		text += "/s"
	}
	n, err := outbox.ParseRate(text)
	if err != nil {
		return 0, config.Problems{{Where: "argument <rate>", Text: strconv.Quote(c.Rate) + " " + err.Error() + ", or off"}}
	}
	return n, nil
}
