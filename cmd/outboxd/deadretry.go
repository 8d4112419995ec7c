package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/cmd/internal/config"
	"github.com/outboxd/outboxd/cmd/internal/term"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store"
)

type deadRetryCmd struct {
	mongoFlags
	deadFilter
	IDs    []string `arg:"" optional:"" name:"id" help:"Intents by _id; without any, those that the filters choose."`
	Config string   `placeholder:"FILE" help:"The workers' file of policies, whose max_attempts and write_back.collections apply here as well ($$OUTBOXD_CONFIG)."`
	DryRun bool     `help:"Only say what would be retried and what not."`
	Rate   string   `placeholder:"N/s" help:"Let so many become due a second, a minute (N/m) or an hour (N/h), instead of all at once."`
	JSON   bool     `help:"One JSON object for each: {_id, kind, retried, generation, due_in_s, why}."`
}

func (deadRetryCmd) Help() string {
	return `What could double an effect is refused, and so is what could only fail again; each refusal says why. A charge whose outcome is
ambiguous may be retried: the worker asks Stripe for the stored payment first. An ambiguous e-mail or SMS may not: find out at the
provider, and write a new intent if it did not act. After the provider's final no the generation rises, so that the provider does
not replay its old answer. Give at least one id or one filter. Exit code 1 if any was refused.`
}

func (c deadRetryCmd) Run(p *program) error {
	_, filterErr := c.filter(p.source, time.Time{})
	_, mongoErr := config.LoadMongo(p.source)
	policies, policyErr := config.LoadPolicies(p.source)
	rate, rateErr := config.LoadRate(p.source, "rate")
	if err := config.Join(mongoErr, filterErr, policyErr, rateErr); err != nil {
		return err
	}
	chosen := c.Kind != "" || c.Reason != "" || c.Code != "" || c.Since != "" || c.Limit != ""
	if chosen == (len(c.IDs) > 0) {
		return wrongUse("dead retry takes either ids or filters (--kind, --reason, --code, --since, --limit); a bare `--since 8760h` is a way to say all")
	}
	return p.withStoreOf(store.Options{Rules: outbox.Rules{WriteBack: policies.WriteBack}}, func(ctx context.Context, s *store.Store) error {
		r := &retrier{deadRetryCmd: c, program: p, store: s, policies: policies, every: interval(rate)}
		letters := r.byID(ctx)
		if chosen {
			filter, err := c.filter(p.source, s.Now())
			if err != nil {
				return err
			}
			letters = s.Dead(ctx, filter)
		}
		return r.run(ctx, letters)
	})
}

// interval is the time between two at a rate a second; 0 at none.
func interval(rate float64) time.Duration {
	if rate == 0 {
		return 0
	}
	return time.Duration(float64(time.Second) / rate)
}

// retrier is one run of the command.
type retrier struct {
	deadRetryCmd
	*program
	store    *store.Store
	policies config.Policies
	every    time.Duration

	retried, refused int
}

func (r *retrier) byID(ctx context.Context) iter.Seq2[bson.Raw, error] {
	return func(yield func(bson.Raw, error) bool) {
		for _, id := range r.IDs {
			if !yield(r.store.Get(ctx, id)) {
				return
			}
		}
	}
}

func (r *retrier) run(ctx context.Context, letters iter.Seq2[bson.Raw, error]) error {
	var failures []error
	for raw, err := range letters {
		if err == nil {
			err = r.retry(ctx, raw)
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err != nil { // one of several ids: the others are retried all the same
			failures = append(failures, err)
		}
	}
	if err := errors.Join(failures...); err != nil {
		return err
	}
	if !r.JSON {
		words := "%d retried, %d refused.\n"
		if r.DryRun {
			words = "%d would be retried, %d would be refused. Nothing was changed.\n"
		}
		if _, err := fmt.Fprintf(r.out, words, r.retried, r.refused); err != nil {
			return err
		}
	}
	if r.refused > 0 {
		return fmt.Errorf("%d dead letters are not retried, each for the reason given with it", r.refused)
	}
	return nil
}

// retry decides about one dead letter, makes it pending unless that is refused, and says so.
func (r *retrier) retry(ctx context.Context, raw bson.Raw) error {
	in, err := r.store.Intent(raw)
	if err != nil {
		return fmt.Errorf("read the dead letter %s: %w", idText(raw.Lookup("_id")), err)
	}
	retry, err := outbox.RetryDead(in, r.policy(in.Kind), r.store.Now())
	delay := time.Duration(r.retried) * r.every
	if err == nil && !r.DryRun {
		err = r.store.RetryDead(ctx, raw, retry, delay)
	}
	refusal, isRefusal := errors.AsType[*outbox.Refusal](err)
	switch {
	case err == nil:
		r.retried++
		return r.say(raw, retry, delay, "")
	case isRefusal:
		r.refused++
		return r.say(raw, retry, 0, refusal.Why+r.perhaps(in))
	case errors.Is(err, store.ErrChanged):
		r.refused++
		return r.say(raw, retry, 0, store.ErrChanged.Error())
	default:
		return err
	}
}

// perhaps says what may be wrong with this command rather than with the dead letter: which collections may be written back
// to is known from the workers' file of policies alone.
func (r *retrier) perhaps(in *outbox.Intent) string {
	if in.WriteBack == nil || slices.Contains(r.policies.WriteBack, in.WriteBack.Collection) {
		return ""
	}
	return "; if the workers' file of policies allows that collection, name the file by --config"
}

// policy returns a kind's policy. A kind that this outboxd does not know has that of the kinds without any safety.
func (r *retrier) policy(kind string) outbox.Policy {
	i := slices.IndexFunc(r.policies.Lanes, func(l config.Lane) bool { return l.Kind == kind })
	if i < 0 {
		policy := r.policies.Lanes[0].Policy
		policy.AsksFirst = false
		return policy
	}
	return r.policies.Lanes[i].Policy
}

func (r *retrier) say(raw bson.Raw, retry outbox.DeadRetry, delay time.Duration, why string) error {
	if r.JSON {
		line := bson.D{{Key: "_id", Value: raw.Lookup("_id")}, {Key: "kind", Value: text(raw, "kind")}, {Key: "retried", Value: why == "" && !r.DryRun},
			{Key: "generation", Value: nil}, {Key: "due_in_s", Value: nil}, {Key: "why", Value: nil}}
		if why == "" {
			line[3].Value, line[4].Value = int32(retry.Generation), delay.Seconds()
		} else {
			line[5].Value = why
		}
		return r.json(line)
	}
	word, text := "retried", text(raw, "kind")
	switch {
	case why != "":
		word, text = "refused", why
	case r.DryRun:
		word = "would be retried"
	}
	if why == "" && retry.NewKeys {
		text += fmt.Sprintf(", generation %d", retry.Generation)
	}
	if why == "" && delay > 0 {
		text += fmt.Sprintf(", due in %v", delay.Round(time.Millisecond))
	}
	_, err := fmt.Fprintln(r.out, term.Wrap(fmt.Sprintf("%s: %s: %s", term.Clean(idText(raw.Lookup("_id"))), word, text), ""))
	return err
}
