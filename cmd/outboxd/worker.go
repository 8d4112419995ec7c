package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/outboxd/outboxd/cmd/internal/config"
	"github.com/outboxd/outboxd/cmd/internal/term"
	"github.com/outboxd/outboxd/cmd/internal/worker"
	"github.com/outboxd/outboxd/store"
)

type workerCmd struct {
	mongoFlags
	logFlags
	Config     string `placeholder:"FILE" predictor:"file" help:"YAML file of policies." var:"OUTBOXD_CONFIG"`
	Kinds      string `placeholder:"KIND,…" help:"Serve only these kinds."`
	Listen     string `placeholder:"ADDRESS" help:"Where /healthz, /readyz and /metrics are served; port 0 takes a free one. Default: ${listen}." var:"OUTBOXD_LISTEN"`
	Drain      string `placeholder:"DURATION" help:"How long calls may go on after the first signal. Default: ${drain}." var:"OUTBOXD_DRAIN"`
	UntilEmpty bool   `help:"End once nothing is due, leased, or due within --within."`
	Within     string `placeholder:"DURATION" help:"With --until-empty: wait for what is due within this time. Default: ${within}."`
	Migrate    bool   `help:"Bring the schema up to date first."`
}

func (workerCmd) Help() string {
	return `Serves each kind whose provider has credentials in the environment:

  charge   STRIPE_API_KEY, and STRIPE_API_URL where it is not Stripe's own
  email    SENDGRID_API_KEY, and SENDGRID_API_URL;
           OUTBOXD_EMAIL_EVENTS, a collection of Event Webhook entries, asked before the log
  sms      TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN, and TWILIO_API_URL;
           TWILIO_CALLBACK_URL, where Twilio reports deliveries, with the intent's labels added

With OTEL_EXPORTER_OTLP_ENDPOINT set, it exports traces by OTLP, as OpenTelemetry's variables say (docs/tracing.md).

The first SIGTERM or SIGINT ends it in good order: nothing more is claimed, calls under way end, outcomes are written. When
the drain time is over, calls are cancelled (exit code 1); a second signal cancels them at once (exit code 130). What was
cancelled in the middle is ambiguous, and treated as that.

With --until-empty, open breakers and gates are waited for; paused and held lanes are not. What remains is printed.`
}

func (c workerCmd) Run(p *program) error {
	cfg, err := config.LoadWorker(p.source)
	logging, logErr := config.LoadLogging(p.source)
	if err := config.Join(err, logErr); err != nil {
		return err
	}
	p.collectSeldom()
	version, revision := build()
	err = worker.Run(p.ctx, worker.Options{
		Config: cfg, Logger: p.logger(logging), UntilEmpty: c.UntilEmpty, Migrate: c.Migrate, Version: version, Revision: revision,
		Connect: func(ctx context.Context, o store.Options) (*store.Store, func(), error) {
			return connect(ctx, cfg.Mongo, o)
		},
		Remains: p.remains, Env: p.env,
	})
	if errors.Is(err, worker.ErrInterrupted) {
		return &exitError{exitInterrupted, err}
	}
	return err
}

// remains prints what is left after --until-empty.
func (p *program) remains(left []worker.Remainder) error {
	if len(left) == 0 {
		_, err := fmt.Fprintln(p.out, "Nothing remains.")
		return err
	}
	for _, r := range left {
		if _, err := fmt.Fprintln(p.out, term.Wrap(r.String(), "")); err != nil {
			return err
		}
	}
	return nil
}
