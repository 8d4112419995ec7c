// Command outbox-api is the reference payments API: it shows how a program writes its business data and an intent in one
// transaction. Package payments says what it answers; this package has flags, wiring, signals and exit codes.
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
	"syscall"

	"github.com/alecthomas/kong"
)

const (
	exitFailed    = 1
	exitUsage     = 2
	exitSecondSig = 130
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run is main without the end of the process.
func run(args []string, stdout, stderr io.Writer) int {
	var cfg config
	ended := -1
	parser, err := kong.New(&cfg,
		kong.Name("outbox-api"),
		kong.Description("The reference payments API: POST /payments writes a payment and the intent that charges it in one MongoDB transaction; `outboxd worker` does the rest."),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { ended = code }), // --help
		kong.Vars{"version": version()},
	)
	if err != nil {
		fmt.Fprintln(stderr, "outbox-api: build the command line:", err)
		return exitFailed
	}
	_, err = parser.Parse(args)
	if ended >= 0 {
		return ended
	}
	if err == nil {
		err = cfg.check()
	}
	if err != nil {
		fmt.Fprintf(stderr, "outbox-api: %v\n\nRun `outbox-api --help` for all flags and variables.\n", err)
		return exitUsage
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- serve(ctx, cfg, stderr) }()
	select {
	case err = <-done:
	case <-ctx.Done():
		second := make(chan os.Signal, 1)
		signal.Notify(second, os.Interrupt, syscall.SIGTERM)
		defer signal.Stop(second)
		select {
		case err = <-done:
		case <-second:
			fmt.Fprintln(stderr, "outbox-api: second signal; requests under way are cut off")
			return exitSecondSig
		}
	}
	if err != nil && !errors.Is(err, errStopped) {
		fmt.Fprintln(stderr, "outbox-api:", err)
		return exitFailed
	}
	return 0
}
