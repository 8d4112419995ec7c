package main

import (
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/cmd/internal/config"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store"
)

type cancelCmd struct {
	mongoFlags
	outputFlag
	IDs    []string `arg:"" name:"id" help:"Intents by _id: an ObjectId's hex, a UUID, or the string."`
	Config string   `placeholder:"FILE" predictor:"file" help:"The workers' file of policies, whose retention.cancelled applies here as well ($$OUTBOXD_CONFIG)."`
	Why    string   `placeholder:"TEXT" help:"Why, for the audit."`
	By     string   `placeholder:"NAME" help:"Who cancels. Default: $$USER and the host's name."`
	JSON   bool     `help:"One JSON object for each: {_id, kind, cancelled, why}."`
}

func (cancelCmd) Help() string {
	return `Cancels what surely was not sent: intents that wait, that no worker holds, and in which nothing tells of an attempt that may have
acted. The rest is refused, each with the reason. Nothing that should follow a cancelled intent is carried out: neither on_dead
nor write_back. It is deleted after retention.cancelled. Exit code 1 if any was refused. The audit records each.

  outboxd cancel order-7 --why "the order was withdrawn"`
}

func (c cancelCmd) Run(p *program) error {
	_, mongoErr := config.LoadMongo(p.source)
	workers, policyErr := loadDeployment(p.source)
	if err := config.Join(mongoErr, policyErr, note("why", c.Why), note("by", c.By)); err != nil {
		return err
	}
	return p.withOperator(workers, c.By, func(ctx context.Context, d *desk) error {
		var failures []error
		cancelled, refused := 0, 0
		for _, id := range c.IDs {
			in, err := c.cancel(ctx, d, id)
			refusal, isRefusal := errors.AsType[*outbox.Refusal](err)
			switch {
			case isRefusal:
				refused++
				err = c.say(p, rawOf(in), false, refusal.Why)
			case errors.Is(err, store.ErrNotFound):
				failures = append(failures, plainly(err))
				continue
			case err == nil:
				cancelled++
				err = c.say(p, rawOf(in), true, "")
			}
			if err != nil {
				return err
			}
		}
		if c.form(c.JSON) == formTable {
			if _, err := fmt.Fprintf(p.out, "%d cancelled, %d refused.\n", cancelled, refused); err != nil {
				return err
			}
		}
		if refused > 0 {
			failures = append(failures, fmt.Errorf("%d intents are not cancelled, each for the reason given with it", refused))
		}
		return errors.Join(failures...)
	})
}

// cancelTries is how often an intent is looked at that changes while it is being cancelled: workers claim it, and let
// go.
const cancelTries = 3

// cancel cancels one intent. The error holds an *outbox.Refusal if that is not to be.
func (c cancelCmd) cancel(ctx context.Context, d *desk, id string) (outbox.Snapshot, error) {
	for try := 1; ; try++ {
		in, err := d.store.Look(ctx, id)
		if err != nil {
			return in, err
		}
		_, err = d.Cancel(ctx, d.actor, id, orNoReason(c.Why))
		if err == nil || !errors.Is(err, store.ErrChanged) || try == cancelTries {
			return in, err
		}
	}
}

func (c cancelCmd) say(p *program, raw bson.Raw, cancelled bool, why string) error {
	switch form := c.form(c.JSON); {
	case form != formTable && cancelled:
		return p.line(form, raw, bson.D{{Key: "cancelled", Value: true}, {Key: "why", Value: nil}})
	case form != formTable:
		return p.line(form, raw, bson.D{{Key: "cancelled", Value: false}, {Key: "why", Value: why}})
	case cancelled:
		return p.words(raw, "cancelled", text(raw, "kind"))
	default:
		return p.words(raw, "refused", why)
	}
}
