package worker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/outboxd/outboxd/cmd/internal/config"
	"github.com/outboxd/outboxd/cmd/internal/health"
	"github.com/outboxd/outboxd/cmd/internal/metrics"
	"github.com/outboxd/outboxd/dispatcher"
	"github.com/outboxd/outboxd/migrations"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers"
	"github.com/outboxd/outboxd/store"
)

// abortGrace is how long the dispatcher may take to end after its calls were cancelled: it has five seconds to settle
// and five to leave the registry.
const abortGrace = 15 * time.Second

// Options say how a worker runs.
type Options struct {
	Config     config.Worker
	Logger     *slog.Logger
	UntilEmpty bool // end once nothing is left to do
	Migrate    bool // bring the schema up to date before anything else
	Version    string
	Revision   string
	// Connect opens the outbox; the function that it returns closes it.
	Connect func(context.Context, store.Options) (*store.Store, func(), error)
	// Provider replaces the providers of the configuration by its own, for measurements. Nil: those of the
	// configuration.
	Provider func(kind string) dispatcher.Provider
	// Observer is told what happened beside the metrics. Nil: nobody is.
	Observer dispatcher.Observer
	// Env returns a variable of the environment, which says where traces go. Nil: nowhere.
	Env func(name string) string
	// Remains is told what is left when UntilEmpty ends.
	Remains func([]Remainder) error
}

// Run serves the lanes until a signal, the end of ctx, or until nothing is left to do. It returns nil once everything
// that was begun is settled; else [ErrDrainOver], [ErrInterrupted], or what went wrong.
func Run(ctx context.Context, o Options) error {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)

	s := newStopper(ctx)
	w := &worker{Options: o, stopper: s, name: name(), began: time.Now(), ready: newReadiness()}
	var attending sync.WaitGroup
	attending.Go(func() {
		s.attend(ctx, signals, o.Config.Drain, w.stopping, func(cause error) {
			signal.Stop(signals) // a third signal ends the process
			o.Logger.Warn("calls are cancelled", "cause", cause)
		})
	})
	defer attending.Wait()
	defer s.end()

	err := w.run()
	switch {
	case w.serving || s.stop.Err() == nil:
		return err
	case s.abort.Err() != nil:
		return context.Cause(s.abort)
	default:
		o.Logger.Info("stopped before it began", "cause", context.Cause(s.stop))
		return nil
	}
}

// worker is one run.
type worker struct {
	Options
	*stopper
	name    string
	began   time.Time
	ready   *readiness
	rates   *rates
	counts  *metrics.Metrics
	serving bool // everything is set up, and lanes are served
}

func (w *worker) stopping(cause error) {
	w.ready.stop()
	w.Logger.Info("stopping: nothing more is claimed", "cause", cause, "drain", w.Config.Drain)
}

// run sets everything up, serves, and takes everything down in reverse.
func (w *worker) run() error {
	cfg := w.Config
	db, leave, err := w.Connect(w.stop, store.Options{Rules: outbox.Rules{WriteBack: cfg.WriteBack}, Retention: cfg.Retention.Done, RetentionCancelled: cfg.Retention.Cancelled})
	if err != nil {
		return err
	}
	defer leave()
	schema := migrations.New(db.Database(), cfg.Mongo.Collection).Register(cfg.Kinds...)
	if err := w.migrate(schema); err != nil {
		return err
	}
	namespace, err := schema.Namespace(w.stop)
	if err != nil {
		return err
	}
	db.UseNamespace(namespace)
	inspect(w.stop, schema, db, w.Logger)

	counts := metrics.New(metrics.Config{
		Kinds: kinds(config.DefaultLanes()), Unserved: cfg.Unserved, Version: w.Version, Revision: w.Revision,
	})
	w.counts = counts
	transport := providers.NewTransport(providers.TransportConfig{Connections: connections(cfg.Lanes)})
	defer transport.CloseIdleConnections()
	tracer, untrace, err := w.trace()
	if err != nil {
		return err
	}
	defer untrace()
	if tracer != nil {
		transport = transport.Wrapped(tracer.Wrap)
	}
	list, err := lanes(cfg.Lanes, func(kind string) (dispatcher.Provider, error) {
		if w.Provider != nil {
			return w.Provider(kind), nil
		}
		return Provider(kind, cfg.Providers, observed(transport, counts.Replied), EmailEvents(db.Database(), cfg.EmailEvents, w.Logger))
	})
	if err != nil {
		return err
	}
	w.rates = &rates{now: db.Now, kinds: kinds(config.DefaultLanes())}
	watching := observers{counts, claims{ready: w.ready}, w.rates}
	if w.Observer != nil {
		watching = append(watching, w.Observer)
	}
	d, err := dispatcher.New(dispatcher.Config{
		Worker: w.name, Store: db, Shared: shared{db, w.Version}, Upcoming: db, Lanes: list, Logger: w.Logger, Logs: cfg.Logs, Observer: watching, Tracer: spans(tracer),
	})
	if err != nil {
		return err
	}
	counts.ShowLanes(d)
	w.ready.show(d.Status)
	h, addr, err := health.Listen(cfg.Listen, "--listen, OUTBOXD_LISTEN", w.ready, counts.Handler(), w.Logger)
	if err != nil {
		return err
	}
	w.ready.begin(db.Ready, func(ctx context.Context) error { return fits(ctx, schema, namespace) }, db.MayClaim)
	w.announce(addr.String())
	w.showRates(db)
	w.serving = true
	served := w.serve(db, d, list)
	return errors.Join(served, h.Close())
}

// migrate brings the schema up to date where that is wanted, and else refuses one that does not fit.
func (w *worker) migrate(schema *migrations.Migrator) error {
	if !w.Migrate {
		return schema.Check(w.stop)
	}
	applied, err := schema.Up(w.stop)
	for _, step := range applied {
		w.Logger.Info("migrated", "step", step.Text, "took", step.Took)
	}
	return err
}

// announce says what this worker serves and what it does not.
func (w *worker) announce(addr string) {
	w.Logger.Info("serving", "worker", w.name, "kinds", kinds(w.Config.Lanes), "database", w.Config.Mongo.Database,
		"collection", w.Config.Mongo.Collection, "listen", addr, "version", w.Version)
	for _, kind := range w.Config.Unserved {
		w.Logger.Warn("kind not served: its provider has no credentials, and its intents stay pending",
			"kind", kind, "set", w.Config.Providers.Missing(kind))
	}
}

// showRates notes the configured rates beside the lanes, for people. They are not worth failing for.
func (w *worker) showRates(db *store.Store) {
	for _, l := range w.Config.Lanes {
		if err := db.ShowRate(w.stop, l.Kind, l.RateText); err != nil {
			w.Logger.Warn("noting the lane's rate failed; it applies all the same", "kind", l.Kind, "err", err)
		}
	}
}

// serve runs the dispatcher and everything beside it, and returns when all of it has ended.
func (w *worker) serve(db *store.Store, d *dispatcher.Dispatcher, list []dispatcher.Lane) error {
	var beside sync.WaitGroup
	beside.Go(func() { w.askProviders(list) })
	beside.Go(func() { watch(w.stop, db, d, w.counts.StreamUp, w.Logger) })
	beside.Go(func() { w.counts.Watch(w.stop, db, w.silence) })
	beside.Go(func() { w.rates.run(w.stop, db, w.Logger) })
	beside.Go(func() { w.rates.takeCensus(w.stop, db, w.name, kinds(w.Config.Lanes), w.Logger) })
	swept := make(chan struct{})
	beside.Go(func() { sweep(w.stop, db, w.Logger, swept) })
	if w.UntilEmpty {
		beside.Go(func() { w.awaitEmpty(db, d, swept) })
	}

	done := make(chan error, 1)
	go func() { done <- d.Run(w.stop, w.abort) }() // waited for below
	err := w.await(done)

	w.stopNow(errDone)
	beside.Wait()
	if err := w.rates.write(context.WithoutCancel(w.stop), db); err != nil {
		w.Logger.Debug("adding to the rates failed; the last of them are lost", "err", err)
	}
	if w.UntilEmpty && err == nil && errors.Is(context.Cause(w.stop), errEmpty) {
		err = w.remains(db, d)
	}
	w.Logger.Info("stopped", "cause", context.Cause(w.stop), "after", time.Since(w.began))
	return err
}

// await returns what the dispatcher ended with, and why its calls were cancelled if they were.
func (w *worker) await(done <-chan error) error {
	var err error
	select {
	case err = <-done:
	case <-w.abort.Done():
		select {
		case err = <-done:
		case <-time.After(abortGrace):
			err = fmt.Errorf("the dispatcher did not end within %v after its calls were cancelled; leases run out by themselves", abortGrace)
		}
	}
	if w.abort.Err() != nil {
		return errors.Join(context.Cause(w.abort), err)
	}
	return err
}

// silence tells when the database falls silent, and when it answers again: long before a claim gives up.
func (w *worker) silence(up bool, silent time.Duration) {
	if up {
		w.Logger.Info("the database answers again", "silent", silent)
		return
	}
	w.Logger.Warn("the database does not answer; nothing is claimed, and outcomes are kept until it does", "silent", silent)
}

func kinds(lanes []config.Lane) []string {
	var all []string
	for _, l := range lanes {
		all = append(all, l.Kind)
	}
	return all
}

// name makes the worker's name: unique among live workers, and telling where to look.
func name() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s-%d-%s", host, os.Getpid(), strings.ToLower(rand.Text()[:6]))
}
