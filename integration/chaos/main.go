package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/outboxd/outboxd/integration/chaos/check"
)

// Exit codes.
const (
	exitBroken  = 1 // a promise was broken
	exitFailure = 2 // the run could not be made
)

func main() { os.Exit(program(os.Args[1:])) }

func program(args []string) int {
	flags := flag.NewFlagSet("chaos", flag.ContinueOnError)
	seed := flags.Uint64("seed", 0, "`number` that decides the schedule; 0 draws one")
	length := flags.Duration("length", 5*time.Minute, "how long faults go on")
	workers := flags.Int("workers", 3, "how many workers run at once")
	rate := flags.Float64("rate", 30, "transactions a second; each writes one to three intents")
	uri := flags.String("mongodb-uri", "", "connection string of a given cluster, whose members and network are left alone; default: a replica set of three is started")
	asJSON := flags.Bool("json", false, "print the totals as one JSON object")
	keep := flags.String("keep", "", "`folder` that must not exist, to keep logs and journals in; default: they are kept only if a promise was broken")
	quiet := flags.Bool("quiet", false, "do not print each fault")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return exitFailure
	}
	if *workers < 1 || *rate <= 0 || *length < 10*time.Second || flags.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "chaos: needs at least one worker, a rate above 0, a length of at least 10s, and no further argument")
		return exitFailure
	}
	if *seed == 0 {
		*seed = newSeed()
	}
	dir, err := evidence(*keep)
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return exitFailure
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	out, err := run(ctx, config{seed: *seed, length: *length, workers: *workers, rate: *rate, uri: *uri, dir: dir, say: teller(*quiet)})
	broken := err != nil || len(out.Violations) > 0
	if *keep == "" && !broken {
		err = errors.Join(err, os.RemoveAll(dir))
	} else {
		fmt.Fprintf(os.Stderr, "Logs and journals are in %s\n", dir)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "chaos: seed %d: %v\n", *seed, err)
		return exitFailure
	}
	if *asJSON {
		err = json.NewEncoder(os.Stdout).Encode(out)
	} else {
		err = summarise(os.Stdout, out)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return exitFailure
	}
	if broken {
		return exitBroken
	}
	return 0
}

// evidence makes the folder of a run.
func evidence(keep string) (string, error) {
	if keep == "" {
		return os.MkdirTemp("", "outboxd-chaos-")
	}
	dir, err := filepath.Abs(keep)
	if err != nil {
		return "", err
	}
	return dir, os.Mkdir(dir, 0o700)
}

func newSeed() uint64 {
	var b [4]byte
	_, _ = rand.Read(b[:]) // it never fails
	return uint64(binary.BigEndian.Uint32(b[:]))%1_000_000 + 1
}

// teller prints what happens, with the time since its making.
func teller(quiet bool) func(format string, args ...any) {
	if quiet {
		return func(string, ...any) {}
	}
	began := time.Now()
	var mu sync.Mutex
	return func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(os.Stderr, "%7.1fs  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
}

// shown is how many violations of one rule are printed.
const shown = 10

// violations prints them, not too many of each rule.
func violations(list []check.Violation) (text string) {
	count := make(map[string]int)
	for _, v := range list {
		if count[v.Rule]++; count[v.Rule] <= shown {
			text += "  " + v.String() + "\n"
		}
	}
	for rule, n := range count {
		if n > shown {
			text += fmt.Sprintf("  %s: %d more\n", rule, n-shown)
		}
	}
	return text
}
