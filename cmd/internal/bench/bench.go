package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"
)

// The parts of a run, in their order.
const (
	PartCeiling   = "ceiling"
	PartWorker    = "worker"
	PartLatency   = "latency"
	PartCurve     = "curve"
	PartFlatness  = "flatness"
	PartCost      = "cost"
	PartEmail     = "email"
	PartRetention = "retention" // only if named, or deep
)

// Parts returns all parts in the order in which they run.
func Parts() []string {
	return []string{PartCeiling, PartWorker, PartLatency, PartCurve, PartFlatness, PartCost, PartEmail, PartRetention}
}

// Options say what is measured and how.
type Options struct {
	URI        string // of the MongoDB; empty: found or started
	Only       []string
	Quick      bool   // about a minute: fewer rounds, less ballast
	Deep       bool   // up to ten million intents
	Slots      int    // of each worker process
	Intents    int    // in one round; 0: by Quick
	Profile    string // folder for profiles of the worker processes' processor time; empty: none are made
	Executable string
	Environ    []string
	Version    string
	Revision   string
	Log        io.Writer // told what is being done
}

// run is one run of the benchmark.
type run struct {
	Options
	server
	rounds      int
	collections int
	report      *Report
	stolen      loss
}

// Run measures and returns what it measured. It takes down all that it put up.
func Run(ctx context.Context, o Options) (_ *Report, err error) {
	began := time.Now()
	r := &run{Options: o, rounds: 3, stolen: beginLoss()}
	if o.Quick {
		r.rounds = 1
	}
	if r.Intents == 0 {
		r.Intents = 30_000
		if o.Quick {
			r.Intents = 10_000
		}
	}
	if err := r.server.find(ctx, o); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.server.leave(ctx)) }()
	if r.report, err = r.newReport(ctx, began); err != nil {
		return nil, err
	}
	r.say("MongoDB %s: %s", r.report.Server.Version, r.report.Server.How)
	for _, part := range []struct {
		name string
		do   func(context.Context) error
	}{
		{PartCeiling, func(ctx context.Context) (err error) { _, err = r.bestCeiling(ctx); return err }},
		{PartWorker, r.worker}, {PartLatency, r.latency}, {PartCurve, r.curve}, {PartFlatness, r.flatness}, {PartCost, r.cost}, {PartEmail, r.email}, {PartRetention, r.retention},
	} {
		if named := slices.Contains(o.Only, part.name); !named && (len(o.Only) > 0 || part.name == PartRetention && !o.Deep) {
			continue
		}
		if err := part.do(ctx); err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return nil, fmt.Errorf("bench %s: %w", part.name, err)
		}
	}
	r.report.Machine.LoadLast = loadAverage()
	r.report.Machine.Stolen = r.stolen.share()
	r.report.Seconds = time.Since(began).Seconds()
	r.report.Bars = r.report.bars()
	return r.report, nil
}

func (r *run) say(format string, args ...any) { _, _ = fmt.Fprintf(r.Log, format+"\n", args...) }

func (r *run) newReport(ctx context.Context, began time.Time) (*Report, error) {
	size, err := intentSize()
	if err != nil {
		return nil, err
	}
	server, err := r.server.describe(ctx)
	return &Report{
		Began: began.UTC().Truncate(time.Second),
		Machine: Machine{
			OS: runtime.GOOS, Arch: runtime.GOARCH, CPU: processor(), Cores: runtime.NumCPU(), Memory: memory(), LoadThen: loadAverage(),
		},
		Versions: Versions{Outboxd: r.Version, Revision: r.Revision, Go: runtime.Version(), Driver: driverVersion()},
		Server:   server,
		Parameters: Parameters{
			Intents: r.Intents, Rounds: r.rounds, Slots: r.Slots, Document: size, Deep: r.Deep, Quick: r.Quick, Logging: "info, json, to the null device",
		},
	}, err
}

func driverVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, dep := range info.Deps {
		if dep.Path == "go.mongodb.org/mongo-driver/v2" {
			return dep.Version
		}
	}
	return "unknown"
}

// withoutConfiguration returns an environment without anything that configures outboxd.
func withoutConfiguration(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(entry string) bool {
		return slices.ContainsFunc([]string{"OUTBOXD_", "STRIPE_", "SENDGRID_", "TWILIO_"}, func(prefix string) bool { return strings.HasPrefix(entry, prefix) })
	})
}

// within calls do with a fresh collection that is dropped afterwards.
func (r *run) within(ctx context.Context, do func(*mongo.Collection) error) (err error) {
	c, drop, err := r.collection(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, drop()) }()
	return do(c)
}
