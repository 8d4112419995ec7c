// Command outbox-api is the reference payments API. It shows how a program writes its business data and an intent in
// one transaction. Package payments has the business, package webhook reads what providers post, package httpapi says
// what is answered. This package has flags, wiring, signals and exit codes.
//
// Exit codes: 0 stopped by a signal in good order; 1 failed (MongoDB not reachable within --connect-timeout, not
// migrated, port in use, drain time over); 2 wrong use or wrong configuration; 130 second signal.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/outboxd/outboxd/cmd/internal/config"
)

const (
	exitFailed      = 1
	exitWrongUse    = 2
	exitInterrupted = 130
)

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Getenv, os.Stdout, os.Stderr)) }

// run is the whole program: it touches nothing of the process but what it is given, except for signals.
func run(ctx context.Context, args []string, env func(string) string, out, errOut io.Writer) int {
	var grammar flags
	ended := -1 // set where kong has done all there is to do: --help
	parser, err := kong.New(&grammar,
		kong.Name("outbox-api"),
		kong.Description("The reference payments API. POST /payments writes a payment and the intent that charges it in one MongoDB transaction; `outboxd worker` does the rest, if its configuration allows write_back to the collection payments. The webhooks of Stripe and Twilio are taken where $"+variableStripe+" and $"+variableTwilio+" are set, or their variants _FILE."),
		kong.Writers(out, errOut),
		kong.Exit(func(code int) { ended = code }),
		kong.ConfigureHelp(kong.HelpOptions{WrapUpperBound: 100, ValueFormatter: explain}),
		kong.Vars{
			"mongodb_uri": config.DefaultURI, "database": config.DefaultDatabase, "collection": config.DefaultCollection,
			"connect_timeout": config.DefaultConnectTimeout, "drain": config.DefaultDrain, "log_level": config.DefaultLogLevel,
			"listen": defaultListen, "email_from": defaultEmailFrom, "sms_from": defaultSMSFrom,
		})
	if err != nil {
		fmt.Fprintln(errOut, "outbox-api: the command line's grammar is broken:", err)
		return exitFailed
	}
	parsed, err := parser.Parse(args)
	if ended >= 0 {
		return ended
	}
	if err != nil {
		fmt.Fprintf(errOut, "outbox-api: %v\nRun `outbox-api --help` to see what there is.\n", err)
		return exitWrongUse
	}
	if grammar.Version {
		fmt.Fprintln(out, "outbox-api", version())
		return 0
	}
	given := make(map[string]string)
	for _, path := range parsed.Path {
		if path.Flag != nil && !path.Resolved {
			given[path.Flag.Name] = fmt.Sprint(parsed.FlagValue(path.Flag))
		}
	}
	s, err := load(config.Source{Flags: given, Env: env})
	if err != nil {
		fmt.Fprintln(errOut, "outbox-api:", err)
		return exitWrongUse
	}

	if err := untilSignal(ctx, s, errOut); err != nil {
		fmt.Fprintln(errOut, "outbox-api:", err)
		if errors.Is(err, errInterrupted) {
			return exitInterrupted
		}
		return exitFailed
	}
	return 0
}

var errInterrupted = errors.New("a second signal came; requests under way were cut off, and may be repeated under the same Idempotency-Key")

// untilSignal serves until the first signal, or until ctx ends. A second one does not wait for anything.
func untilSignal(ctx context.Context, s settings, errOut io.Writer) error {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	served := make(chan error, 1)
	go func() { served <- serve(ctx, s, errOut) }()
	select {
	case err := <-served:
		return err
	case sig := <-signals:
		stop(fmt.Errorf("received the signal %q", sig))
	}
	select {
	case err := <-served:
		return err
	case <-signals:
		return errInterrupted // the process ends, and with it what serves
	}
}

// explain adds a flag's variable to its help.
func explain(v *kong.Value) string {
	if variable := v.Tag.Get("var"); variable != "" {
		return strings.TrimSuffix(v.Help, ".") + " ($" + variable + ")."
	}
	return v.Help
}
