// Command outboxd carries out the effects that applications write into a MongoDB outbox: charges through Stripe, e-mail
// through SendGrid, SMS through Twilio. Run it with --help for its commands.
//
// Exit codes: 0 done; 1 failed; 2 wrong use or wrong configuration; 130 a second signal cut short what was under way.
package main

import (
	"context"
	"os"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}
