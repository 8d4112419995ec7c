package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/outboxd/outboxd/cmd/internal/config"
	"github.com/outboxd/outboxd/cmd/internal/term"
)

// limit is how long the story may take; on an idle machine it takes a quarter of that.
const limit = time.Minute

// Options say how the demo runs.
type Options struct {
	Out        io.Writer
	Style      term.Style
	Terminal   bool     // Out is a terminal, where lines can be written over
	Executable string   // of outboxd, for the worker's process
	Environ    []string // of this process, for the worker's
	Version    string   // of outboxd, for the API's description
	Keep       bool     // leave everything running until ctx ends
}

// Run plays the story and returns nil if every number fits. It takes everything down that it put up.
func Run(ctx context.Context, o Options) (err error) {
	began := time.Now()
	say(o.Out, "Setting the stage: a MongoDB, Stripe, SendGrid and Twilio simulated, an API and a worker …")
	s, err := set(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.clear()) }()
	say(o.Out, fmt.Sprintf("MongoDB %s: %s.\nThe API serves %s/payments. The worker is process %d.\n", s.server.Version, s.server.How, s.apiURL, s.worker.cmd.Process.Pid))

	acts := story()
	c, err := s.play(ctx, o, acts)
	if err != nil {
		return err
	}
	r, err := s.reckon(ctx, acts, c)
	if err != nil {
		return err
	}
	say(o.Out, "")
	if err := r.write(o.Out, o.Style); err != nil {
		return err
	}
	err = r.err()
	if err == nil {
		say(o.Out, fmt.Sprintf("\nAll %d intents ended as they must, after %.1f s. No effect happened twice.", len(r.intents), time.Since(began).Seconds()))
	}
	if o.Keep {
		s.keep(ctx, o)
	}
	return err
}

// play writes the intents and shows where they are until all have ended.
func (s *stage) play(ctx context.Context, o Options, acts []*act) (*cast, error) {
	list := roles(acts)
	for _, r := range list {
		if err := s.sims.Sim.AddFaults(r.script()...); err != nil {
			return nil, fmt.Errorf("script the faults: %w", err)
		}
	}
	say(o.Out, fmt.Sprintf("%d intents are written, each in a transaction with business data; payments bring more along.\n", len(list)))
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the intents have not ended within %v", limit))
	defer cancel()
	var all *cast
	var failed error
	var producing sync.WaitGroup
	produced := make(chan struct{})
	producing.Go(func() {
		defer close(produced)
		all, failed = s.produce(ctx, list)
	})
	b := &board{out: o.Out, style: o.Style, terminal: o.Terminal, began: time.Now()}
	err := s.watch(ctx, b, produced)
	if err != nil {
		cancel()
	}
	producing.Wait()
	return all, cmp.Or(err, failed) // what failed after err is its consequence
}

// watch shows the board until everything is written and has ended.
func (s *stage) watch(ctx context.Context, b *board, produced <-chan struct{}) error {
	tick := time.NewTicker(b.every())
	defer tick.Stop()
	for {
		written := false
		select {
		case <-produced:
			written = true
		default:
		}
		all, err := s.look(ctx)
		if err != nil {
			return cmp.Or(context.Cause(ctx), err)
		}
		if err := b.show(all, s.effects()); err != nil {
			return err
		}
		open := 0
		for _, c := range all {
			open += c.waiting + c.again + c.leased
		}
		if written && open == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-s.worker.ended:
			return s.worker.failure("ended in the middle")
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// keep tells where everything is, and leaves it there until ctx ends.
func (s *stage) keep(ctx context.Context, o Options) {
	say(o.Out, fmt.Sprintf(`
Everything is left running until an interrupt (Ctrl-C):
  MongoDB    database %s of %s
  shop       %s/
  API        %s/payments, described by %s/docs
  Stripe     %s/_sim/effects
  SendGrid   %s/_sim/effects
  Twilio     %s/_sim/effects
  worker     http://%s/metrics`, s.db.Name(), s.where(), s.apiURL, s.apiURL, s.apiURL, s.sims.StripeURL, s.sims.SendGridURL, s.sims.TwilioURL, s.worker.listen()))
	select {
	case <-ctx.Done():
	case <-s.worker.ended:
	}
}

// where names the MongoDB. A connection string from the environment may hold a password, so that is not shown.
func (s *stage) where() string {
	if os.Getenv(config.VariableURI) != "" {
		return s.server.How
	}
	return s.server.URI
}

// say writes a line; a demo that nobody hears goes on.
func say(w io.Writer, text string) { _, _ = fmt.Fprintln(w, text) }
