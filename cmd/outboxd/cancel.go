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
	IDs    []string `arg:"" name:"id" help:"Intents by _id: an ObjectId's hex, a UUID, or the string."`
	Config string   `placeholder:"FILE" help:"The workers' file of policies, whose retention.cancelled applies here as well ($$OUTBOXD_CONFIG)."`
	JSON   bool     `help:"One JSON object for each: {_id, kind, cancelled, why}."`
}

func (cancelCmd) Help() string {
	return `Cancels what surely was not sent: intents that wait, that no worker holds, and in which nothing tells of an attempt that may have
acted. The rest is refused, each with the reason. Nothing that should follow a cancelled intent is carried out: neither on_dead
nor write_back. It is deleted after retention.cancelled. Exit code 1 if any was refused.`
}

func (c cancelCmd) Run(p *program) error {
	_, mongoErr := config.LoadMongo(p.source)
	workers, policyErr := loadDeployment(p.source)
	if err := config.Join(mongoErr, policyErr); err != nil {
		return err
	}
	return p.withStoreOf(workers.options(), func(ctx context.Context, s *store.Store) error {
		var failures []error
		cancelled, refused := 0, 0
		for _, id := range c.IDs {
			raw, err := cancelOne(ctx, s, id, workers)
			refusal, isRefusal := errors.AsType[*outbox.Refusal](err)
			switch {
			case isRefusal:
				refused++
				err = c.say(p, raw, false, refusal.Why)
			case errors.Is(err, store.ErrNotFound):
				failures = append(failures, err)
				continue
			case err == nil:
				cancelled++
				err = c.say(p, raw, true, "")
			}
			if err != nil {
				return err
			}
		}
		if !c.JSON {
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

// cancelOne cancels one intent. The error is a *outbox.Refusal if that is not to be.
func cancelOne(ctx context.Context, s *store.Store, id string, workers deployment) (bson.Raw, error) {
	for try := 1; ; try++ {
		raw, err := s.Get(ctx, id)
		if err != nil {
			return nil, err
		}
		in, err := s.Intent(raw)
		if err != nil {
			return nil, fmt.Errorf("read the intent %s: %w", idText(raw.Lookup("_id")), err)
		}
		if err := outbox.Cancel(in, workers.Policy(in.Kind)); err != nil {
			return raw, err
		}
		err = s.Cancel(ctx, raw)
		if err == nil || !errors.Is(err, store.ErrChanged) || try == cancelTries {
			return raw, err
		}
	}
}

func (c cancelCmd) say(p *program, raw bson.Raw, cancelled bool, why string) error {
	switch {
	case c.JSON && cancelled:
		return p.line(raw, bson.D{{Key: "cancelled", Value: true}, {Key: "why", Value: nil}})
	case c.JSON:
		return p.line(raw, bson.D{{Key: "cancelled", Value: false}, {Key: "why", Value: why}})
	case cancelled:
		return p.words(raw, "cancelled", text(raw, "kind"))
	default:
		return p.words(raw, "refused", why)
	}
}
