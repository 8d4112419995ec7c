package main

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/admin"
	"github.com/outboxd/outboxd/cmd/internal/config"
	"github.com/outboxd/outboxd/cmd/internal/term"
	"github.com/outboxd/outboxd/outbox"
)

type deadRetryCmd struct {
	mongoFlags
	outputFlag
	deadFilter
	IDs       []string `arg:"" optional:"" name:"id" help:"Intents by _id; without any, those that the filters choose."`
	Config    string   `placeholder:"FILE" predictor:"file" help:"The workers' file of policies, whose max_attempts and write_back.collections apply here as well ($$OUTBOXD_CONFIG)."`
	DryRun    bool     `help:"Only say what would be retried and what not. With --job: plan it, and do not start it."`
	Rate      string   `placeholder:"N/s" help:"Retry so many a second, a minute (N/m) or an hour (N/h). The command runs until it is done; a signal stops it."`
	EvenFinal bool     `help:"Also retry what the provider refused for good: declined, bad_recipient, rejected, canceled."`
	Why       string   `placeholder:"TEXT" help:"Why, for the people who will see it in the document."`
	Job       bool     `help:"Make a job of it, which the database keeps, and start it (jobs --help). Needs --why; --limit means nothing to it."`
	Ramp      string   `placeholder:"N,…" help:"With --job: how many go at a time before it is seen what became of them, or none. Default: 1,10,100, and then all."`
	By        string   `placeholder:"NAME" help:"Who retries. Default: $$USER and the host's name."`
	JSON      bool     `help:"One JSON object for each: {_id, kind, retried, generation, code, why}."`
}

func (deadRetryCmd) Help() string {
	return `An intent is refused if its retry could double an effect, or could only fail again. Each refusal says why. A charge whose outcome
is ambiguous may be retried: the worker asks Stripe for the stored payment first. An ambiguous e-mail or SMS may not be retried.
Ask the provider, then answer with ` + "`outboxd resolve`" + `.

After the provider's final no, a retry raises the generation, so that the provider does not replay its old answer. If the same
request would be refused again, that takes --even-final. A recipient who has opted out never gets a message again.

Give at least one id or one filter. The exit code is 1 if a retry was refused, or if a signal ended the command early. Each retry
leaves a record in the audit, and so does each refusal.

  outboxd dead retry --kind email --reason exhausted --since 24h --dry-run
  outboxd dead retry order-7 --why "SendGrid is back"`
}

func (c deadRetryCmd) Run(p *program) error {
	_, filterErr := c.filter(p.source, time.Time{})
	_, mongoErr := config.LoadMongo(p.source)
	workers, policyErr := loadDeployment(p.source)
	ramp, rampErr := c.ramp()
	rate, rateErr := config.LoadRate(p.source, "rate")
	if err := config.Join(mongoErr, filterErr, policyErr, rateErr, rampErr, c.jobFlags(), note("why", c.Why), note("by", c.By)); err != nil {
		return err
	}
	if c.chosen() == (len(c.IDs) > 0) {
		return wrongUse("dead retry takes either ids or filters (--kind, --reason, --code, --since, --limit); a bare `--since 8760h` is a way to say all")
	}
	var stopped error
	err := p.withOperator(workers, c.By, func(ctx context.Context, d *desk) error {
		if c.Job {
			return p.planned(ctx, d, c.form(c.JSON), c.request(d.store.Now(), rate, ramp), c.DryRun)
		}
		letters := d.named(c.IDs)
		if c.chosen() {
			filter, err := c.filter(p.source, d.store.Now())
			if err != nil {
				return err
			}
			if letters, err = d.filtered(ctx, filter); err != nil {
				return err
			}
		}
		e := &each{program: p, desk: d, form: c.form(c.JSON), dryRun: c.DryRun, word: "retried", every: interval(rate),
			judge: func(in outbox.Snapshot) (judged, error) { return c.judge(d, in) },
			change: func(ctx context.Context, name string) error {
				_, err := d.Retry(ctx, d.actor, name, orNoReason(c.Why), c.EvenFinal)
				return err
			}}
		var err error
		stopped, err = e.run(ctx, letters)
		return err
	})
	return cmp.Or(err, stopped)
}

// jobFlags reports what is wrong with the flags of a job.
func (c deadRetryCmd) jobFlags() error {
	switch {
	case !c.Job && c.Ramp != "":
		return config.Problems{{Where: "flag --ramp", Text: "means nothing without --job"}}
	case !c.Job:
		return nil
	case c.Limit != "":
		return config.Problems{{Where: "flag --limit", Text: "means nothing with --job, which takes all that fit"}}
	default:
		return reasonGiven(c.Why)
	}
}

// ramp reads the steps of a job; nil stands for the default ones.
func (c deadRetryCmd) ramp() ([]int, error) {
	switch c.Ramp {
	case "":
		return nil, nil
	case "none":
		return []int{}, nil
	}
	var steps []int
	for text := range strings.SplitSeq(c.Ramp, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 10_000 {
			return nil, config.Problems{{Where: "flag --ramp", Text: strconv.Quote(c.Ramp) + " is no list of numbers such as 1,10,100, and not none"}}
		}
		steps = append(steps, n)
	}
	return steps, nil
}

// request is the job that the flags ask for.
func (c deadRetryCmd) request(now time.Time, rate float64, ramp []int) admin.JobRequest {
	return admin.JobRequest{Op: outbox.JobRetry, Filter: c.search(now), IDs: c.IDs, Why: c.Why, Rate: rate, Ramp: ramp, EvenFinal: c.EvenFinal}
}

// interval is the time between two at a rate a second; 0 at none.
func interval(rate float64) time.Duration {
	if rate == 0 {
		return 0
	}
	return time.Duration(float64(time.Second) / rate)
}

// judge asks the rules what a retry of the letter would be.
func (c deadRetryCmd) judge(d *desk, in outbox.Snapshot) (judged, error) {
	retry, err := outbox.RetryDead(in.Intent, d.workers.Policy(in.Kind), c.EvenFinal, d.store.Now())
	words := in.Kind
	if retry.Generation > 0 {
		words += fmt.Sprintf(", generation %d", retry.Generation)
	}
	if retry.Code != "" {
		words += "; it had died of " + retry.Code
	}
	return judged{words, bson.D{{Key: "generation", Value: int32(retry.Generation)}}}, err
}

// line prints what became of one intent for programs.
func (p *program) line(form string, raw bson.Raw, fields bson.D) error {
	return p.object(form, append(bson.D{{Key: "_id", Value: raw.Lookup("_id")}, {Key: "kind", Value: text(raw, "kind")}}, fields...))
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
