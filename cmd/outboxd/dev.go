package main

import (
	"fmt"
	"os"

	"github.com/outboxd/outboxd/cmd/internal/demo"
	"github.com/outboxd/outboxd/cmd/internal/term"
)

type devCmd struct{}

func (devCmd) Help() string {
	return `For those who write producers. Starts a throw-away MongoDB, prepares its database "shop", and starts the three providers
simulated, a worker, and the operators' page. Prints where they are, and two producers (mongosh, Node) to copy. Then it tells
the life of every intent, one line an event, until an interrupt: Ctrl-C ends all of it and leaves nothing behind.

It needs a mongod ($MONGOD, the PATH, or .cache/mongod, where "make mongod" puts one) or a Docker engine. It never uses
OUTBOXD_MONGODB_URI, which may name a database that people need. Real credentials in the environment are kept from the worker.
An intent may write back to the collections orders and payments.

This lets Twilio refuse the next texts; the control address is printed beside Twilio:

  curl http://127.0.0.1:PORT/_sim/faults -d '{"provider":"twilio","do":"status","status":429}'`
}

func (devCmd) Run(p *program) error {
	executable, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program's file, to start the worker: %w", err)
	}
	ctx, stop := p.interruptible()
	defer stop()
	return demo.Develop(ctx, demo.Options{Out: p.out, Style: term.NewStyle(p.out, p.env), Executable: executable, Environ: p.environ})
}
