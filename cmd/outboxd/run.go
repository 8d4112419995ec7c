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

// Exit codes, public API.
const (
	exitDone        = 0
	exitFailed      = 1
	exitWrongUse    = 2
	exitInterrupted = 130
)

// exitError ends the program with a code of its own. A nil err is nothing to say.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// wrongUse makes an error that ends the program with code 2.
func wrongUse(format string, args ...any) error {
	return &exitError{exitWrongUse, fmt.Errorf(format, args...)}
}

// program is what a command may use of the process it runs in.
type program struct {
	ctx      context.Context
	in       io.Reader
	out, err io.Writer
	environ  []string
	source   config.Source
}

// env returns a variable's value, empty if it is not set.
func (p *program) env(name string) string { return p.source.Env(name) }

// run is the whole program: it touches nothing of the process but what it is given, except for signals.
func run(ctx context.Context, args, environ []string, in io.Reader, out, errOut io.Writer) int {
	p := &program{ctx: ctx, in: in, out: out, err: errOut, environ: environ, source: config.Source{Flags: make(map[string]string), Env: lookup(environ)}}
	var grammar cli
	ended := -1 // set where kong has done all there is to do: --help
	parser, err := kong.New(&grammar, grammarOptions(p, func(code int) { ended = code })...)
	if err != nil {
		fmt.Fprintln(errOut, "outboxd: the command line's grammar is broken:", err)
		return exitFailed
	}
	if p.complete(parser) {
		return exitDone
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(arranged(args))
	if ended >= 0 {
		return ended
	}
	if err != nil {
		fmt.Fprintf(errOut, "outboxd: %v\nRun `%s --help` to see what there is.\n", err, command(err))
		return exitWrongUse
	}
	for _, path := range parsed.Path {
		if path.Flag != nil && !path.Resolved {
			p.source.Flags[path.Flag.Name] = fmt.Sprint(parsed.FlagValue(path.Flag))
		}
	}
	return p.exit(parsed.Run(p))
}

// exit says what went wrong and returns the code for it.
func (p *program) exit(err error) int {
	if err == nil {
		return exitDone
	}
	code := exitFailed
	if e, ok := errors.AsType[*exitError](err); ok {
		if e.err == nil {
			return e.code
		}
		code = e.code
	}
	if _, ok := errors.AsType[config.Problems](err); ok {
		code = exitWrongUse
	}
	fmt.Fprintln(p.err, "outboxd:", err)
	return code
}

// interruptible returns a context that ends with the first SIGINT or SIGTERM; a second one ends the process at once.
func (p *program) interruptible() (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(p.ctx, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// lookup returns a function that finds a variable in an environment; the last of several wins, as in os/exec.
func lookup(environ []string) func(string) string {
	values := make(map[string]string, len(environ))
	for _, entry := range environ {
		if name, value, ok := strings.Cut(entry, "="); ok {
			values[name] = value
		}
	}
	return func(name string) string { return values[name] }
}
