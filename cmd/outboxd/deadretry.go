package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/cmd/internal/config"
	"github.com/outboxd/outboxd/cmd/internal/term"
	"github.com/outboxd/outboxd/internal/timing"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store"
)

type deadRetryCmd struct {
	mongoFlags
	deadFilter
	IDs       []string `arg:"" optional:"" name:"id" help:"Intents by _id; without any, those that the filters choose."`
	Config    string   `placeholder:"FILE" help:"The workers' file of policies, whose max_attempts and write_back.collections apply here as well ($$OUTBOXD_CONFIG)."`
	DryRun    bool     `help:"Only say what would be retried and what not."`
	Rate      string   `placeholder:"N/s" help:"Retry so many a second, a minute (N/m) or an hour (N/h). The command runs until it is done; a signal stops it."`
	EvenFinal bool     `help:"Also retry what the provider refused for good: declined, bad_recipient, rejected, canceled."`
	Why       string   `placeholder:"TEXT" help:"Why, for the people who will see it in the document."`
	By        string   `placeholder:"NAME" help:"Who retries. Default: $$USER and the host's name."`
	JSON      bool     `help:"One JSON object for each: {_id, kind, retried, generation, code, why}."`
}

func (deadRetryCmd) Help() string {
	return `An intent is refused if its retry could double an effect, or could only fail again. Each refusal says why. A charge whose outcome
is ambiguous may be retried: the worker asks Stripe for the stored payment first. An ambiguous e-mail or SMS may not be retried.
Ask the provider, then answer with ` + "`outboxd resolve`" + `.

After the provider's final no, a retry raises the generation, so that the provider does not replay its old answer. If the same
request would be refused again, that takes --even-final. A recipient who has opted out never gets a message again.

Give at least one id or one filter. The exit code is 1 if a retry was refused, or if a signal ended the command early.`
}

func (c deadRetryCmd) Run(p *program) error {
	_, filterErr := c.filter(p.source, time.Time{})
	_, mongoErr := config.LoadMongo(p.source)
	workers, policyErr := loadDeployment(p.source)
	rate, rateErr := config.LoadRate(p.source, "rate")
	if err := config.Join(mongoErr, filterErr, policyErr, rateErr, note("why", c.Why), note("by", c.By)); err != nil {
		return err
	}
	chosen := c.Kind != "" || c.Reason != "" || c.Code != "" || c.Since != "" || c.Limit != ""
	if chosen == (len(c.IDs) > 0) {
		return wrongUse("dead retry takes either ids or filters (--kind, --reason, --code, --since, --limit); a bare `--since 8760h` is a way to say all")
	}
	c.By = cmp.Or(c.By, p.person())
	var stopped error
	err := p.withStoreOf(workers.options(), func(ctx context.Context, s *store.Store) error {
		r := &retrier{deadRetryCmd: c, program: p, store: s, workers: workers, every: interval(rate)}
		letters := r.named()
		if chosen {
			filter, err := c.filter(p.source, s.Now())
			if err != nil {
				return err
			}
			if letters, err = r.filtered(ctx, filter); err != nil {
				return err
			}
		}
		var err error
		stopped, err = r.run(ctx, letters)
		return err
	})
	return cmp.Or(err, stopped)
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
	store   *store.Store
	workers deployment
	every   time.Duration

	retried, refused int
	next             time.Time // before this instant the rate allows no retry
}

// letter reads a dead letter as it is now.
type letter func(context.Context) (bson.Raw, error)

func (r *retrier) named() []letter {
	letters := make([]letter, len(r.IDs))
	for i, id := range r.IDs {
		letters[i] = func(ctx context.Context) (bson.Raw, error) { return r.store.Get(ctx, id) }
	}
	return letters
}

// filtered returns the dead letters that fit the filter now. An intent that dies while the command runs is not among
// them. A paced run may last for hours, so it keeps only the _ids, and reads each document when its turn comes.
func (r *retrier) filtered(ctx context.Context, filter store.Filter) ([]letter, error) {
	var letters []letter
	for raw, err := range r.store.Dead(ctx, filter) {
		if err != nil {
			return nil, err
		}
		id, died := clone(raw.Lookup("_id")), clone(raw.Lookup("dead_at"))
		letters = append(letters, func(ctx context.Context) (bson.Raw, error) {
			now, err := r.store.GetExactly(ctx, id)
			if err == nil && !now.Lookup("dead_at").Equal(died) {
				return now, store.ErrChanged
			}
			return now, err
		})
	}
	return letters, nil
}

// clone keeps a value without the document that it stands in.
func clone(v bson.RawValue) bson.RawValue {
	return bson.RawValue{Type: v.Type, Value: append([]byte(nil), v.Value...)}
}

// run retries the letters one after another. Where a signal ends it early, stopped says what was done and what is left.
func (r *retrier) run(ctx context.Context, letters []letter) (stopped, err error) {
	var failures []error
	done := 0
	for _, read := range letters {
		err := r.retry(ctx, read)
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			break
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		if err != nil { // one of several: the others are retried all the same
			failures = append(failures, err)
		}
		done++
	}
	left := len(letters) - done
	if err := errors.Join(failures...); err != nil && left == 0 {
		return nil, err
	}
	if !r.JSON {
		if err := r.sum(left); err != nil {
			return nil, err
		}
	}
	if left > 0 {
		return errors.Join(append(failures, fmt.Errorf("a signal ended it: %d retried, %d refused, %d left as they were; the same command goes on with those", r.retried, r.refused, left))...), nil
	}
	if r.refused > 0 {
		return nil, fmt.Errorf("%d dead letters are not retried, each for the reason given with it", r.refused)
	}
	return nil, nil
}

func (r *retrier) sum(left int) error {
	words := "%d retried, %d refused"
	if r.DryRun {
		words = "%d would be retried, %d would be refused. Nothing was changed"
	}
	words = fmt.Sprintf(words, r.retried, r.refused)
	if left > 0 {
		words += fmt.Sprintf(", %d left", left)
	}
	_, err := fmt.Fprintln(r.out, words+".")
	return err
}

// retry decides about one dead letter, makes it pending unless that is refused, and says so. It waits for the rate
// before it writes. A signal ends it with the context's error, and nothing is written then; what is being written is
// written to its end.
func (r *retrier) retry(ctx context.Context, read letter) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	unhurried := context.WithoutCancel(ctx) // the store bounds each call
	raw, err := read(unhurried)
	if errors.Is(err, store.ErrChanged) {
		return r.refuse(raw, err.Error())
	}
	if err != nil {
		return err
	}
	in, err := r.store.Intent(raw)
	if err != nil {
		return fmt.Errorf("read the dead letter %s: %w", idText(raw.Lookup("_id")), err)
	}
	retry, err := outbox.RetryDead(in, r.workers.Policy(in.Kind), r.EvenFinal, r.store.Now())
	if wait := time.Until(r.next); err == nil && !r.DryRun && wait > 0 {
		if err := timing.Sleep(ctx, wait); err != nil {
			return err
		}
		return r.retry(ctx, read) // it may have changed meanwhile
	}
	if err == nil && !r.DryRun {
		err = r.store.RetryDead(unhurried, raw, retry, r.By, r.Why)
	}
	refusal, isRefusal := errors.AsType[*outbox.Refusal](err)
	switch {
	case err == nil:
		r.retried++
		r.next = time.Now().Add(r.every)
		return r.say(raw, retry)
	case isRefusal:
		return r.refuse(raw, r.workers.why(refusal))
	case errors.Is(err, store.ErrChanged):
		return r.refuse(raw, store.ErrChanged.Error())
	default:
		return err
	}
}

func (r *retrier) say(raw bson.Raw, retry outbox.DeadRetry) error {
	if r.JSON {
		return r.line(raw, bson.D{{Key: "retried", Value: !r.DryRun}, {Key: "generation", Value: int32(retry.Generation)}, {Key: "code", Value: code(raw)}, {Key: "why", Value: nil}})
	}
	word := "retried"
	if r.DryRun {
		word = "would be retried"
	}
	what := text(raw, "kind")
	if retry.Generation > 0 {
		what += fmt.Sprintf(", generation %d", retry.Generation)
	}
	if retry.Code != "" {
		what += "; it had died of " + retry.Code
	}
	return r.words(raw, word, what)
}

func (r *retrier) refuse(raw bson.Raw, why string) error {
	r.refused++
	if r.JSON {
		return r.line(raw, bson.D{{Key: "retried", Value: false}, {Key: "generation", Value: nil}, {Key: "code", Value: code(raw)}, {Key: "why", Value: why}})
	}
	return r.words(raw, "refused", why)
}

// line prints what became of one intent as JSON.
func (p *program) line(raw bson.Raw, fields bson.D) error {
	return p.json(append(bson.D{{Key: "_id", Value: raw.Lookup("_id")}, {Key: "kind", Value: text(raw, "kind")}}, fields...))
}

// words prints what became of one intent for a person.
func (p *program) words(raw bson.Raw, word, more string) error {
	_, err := fmt.Fprintln(p.out, term.Wrap(fmt.Sprintf("%s: %s: %s", term.Clean(idText(raw.Lookup("_id"))), word, term.Clean(more)), ""))
	return err
}

// code is that of a document's last_error, nil if it has none.
func code(raw bson.Raw) any {
	if code := text(raw, "last_error", "code"); code != "" {
		return code
	}
	return nil
}
