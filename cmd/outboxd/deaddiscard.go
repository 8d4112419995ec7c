package main

import (
	"cmp"
	"context"
	"time"

	"github.com/outboxd/outboxd/admin"
	"github.com/outboxd/outboxd/cmd/internal/config"
	"github.com/outboxd/outboxd/outbox"
)

type deadDiscardCmd struct {
	mongoFlags
	outputFlag
	deadFilter
	IDs    []string `arg:"" optional:"" name:"id" help:"Intents by _id; without any, those that the filters choose."`
	Config string   `placeholder:"FILE" predictor:"file" help:"The workers' file of policies, whose retention.cancelled applies here as well ($$OUTBOXD_CONFIG)."`
	DryRun bool     `help:"Only say what would be discarded and what not. With --job: plan it, and do not start it."`
	Job    bool     `help:"Make a job of it, which the database keeps, and start it (jobs --help); --limit means nothing to it."`
	Why    string   `required:"" placeholder:"TEXT" help:"Why, for the people who will see it in the document and in the audit."`
	By     string   `placeholder:"NAME" help:"Who discards. Default: $$USER and the host's name."`
	JSON   bool     `help:"One JSON object for each: {_id, kind, discarded, code, why}."`
}

func (deadDiscardCmd) Help() string {
	return `Ends dead letters that nobody wants any more: they become cancelled, and are deleted after retention.cancelled. Nothing that should
follow is carried out. What the provider may have done is refused: answer with ` + "`outboxd resolve`" + ` first. Exit code 1 if any was refused.

  outboxd dead discard --kind sms --code opted_out --why "they have opted out"`
}

func (c deadDiscardCmd) Run(p *program) error {
	_, filterErr := c.filter(p.source, time.Time{})
	_, mongoErr := config.LoadMongo(p.source)
	workers, policyErr := loadDeployment(p.source)
	if err := config.Join(mongoErr, filterErr, policyErr, reasonGiven(c.Why), note("why", c.Why), note("by", c.By)); err != nil {
		return err
	}
	if c.Job && c.Limit != "" {
		return wrongUse("flag --limit: means nothing with --job, which takes all that fit")
	}
	if c.chosen() == (len(c.IDs) > 0) {
		return wrongUse("dead discard takes either ids or filters (--kind, --reason, --code, --since, --limit)")
	}
	var stopped error
	err := p.withOperator(workers, c.By, func(ctx context.Context, d *desk) error {
		if c.Job {
			return p.planned(ctx, d, c.form(c.JSON), c.request(d.store.Now()), c.DryRun)
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
		e := &each{program: p, desk: d, form: c.form(c.JSON), dryRun: c.DryRun, word: "discarded",
			judge: func(in outbox.Snapshot) (judged, error) {
				return judged{words: in.Kind}, outbox.Discard(in.Intent, workers.Policy(in.Kind))
			},
			change: func(ctx context.Context, name string) error {
				_, err := d.Discard(ctx, d.actor, name, c.Why)
				return err
			}}
		var err error
		stopped, err = e.run(ctx, letters)
		return err
	})
	return cmp.Or(err, stopped)
}

// request is the job that the flags ask for.
func (c deadDiscardCmd) request(now time.Time) admin.JobRequest {
	return admin.JobRequest{Op: outbox.JobDiscard, Filter: c.search(now), IDs: c.IDs, Why: c.Why}
}
