package main

import (
	"fmt"
	"os"

	"github.com/outboxd/outboxd/cmd/internal/demo"
	"github.com/outboxd/outboxd/cmd/internal/term"
)

type demoCmd struct {
	Keep bool `help:"Leave everything running at the end, until an interrupt."`
}

func (demoCmd) Help() string {
	return `Starts a throw-away MongoDB (or uses the one that OUTBOXD_MONGODB_URI names, with a database of its own), the three
providers simulated, the reference API, and a worker in a process of its own. A few hundred intents then meet success,
retry, rate limit, decline, ambiguity and dead letter. At the end every effect that the simulators counted is matched with
its intent; if one number does not fit, the exit code is 1. With --keep you can go on in the API's shop: buy something, and
switch a simulated provider off and on.

It needs a mongod ($MONGOD, the PATH, or .cache/mongod, where "make mongod" puts one) or OUTBOXD_MONGODB_URI.
"make demo" gets what is missing. Real credentials in the environment are kept from the worker.`
}

func (c demoCmd) Run(p *program) error {
	executable, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program's file, to start the worker: %w", err)
	}
	version, _ := build()
	ctx, stop := p.interruptible()
	defer stop()
	err = demo.Run(ctx, demo.Options{
		Out: p.out, Style: term.NewStyle(p.out, p.env), Terminal: term.IsTerminal(p.out) && p.env("TERM") != "dumb",
		Executable: executable, Environ: p.environ, Version: version, Keep: c.Keep,
	})
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("interrupted before its end: %w", err)
	}
	return err
}
