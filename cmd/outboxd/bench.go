package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/outboxd/outboxd/cmd/internal/bench"
	"github.com/outboxd/outboxd/cmd/internal/config"
	"github.com/outboxd/outboxd/cmd/internal/term"
	"github.com/outboxd/outboxd/store"
)

type benchCmd struct {
	MongodbURI string `name:"mongodb-uri" placeholder:"URI" help:"Connection string of a replica set. Default: one is found or started." var:"OUTBOXD_MONGODB_URI"`
	Only       string `placeholder:"PART,…" help:"Measure only these parts: ceiling, worker, latency, curve, flatness, cost, email, retention."`
	Quick      bool   `help:"About a minute: one round of each, little ballast."`
	Deep       bool   `help:"Beside up to ten million intents of each sort, and while the database deletes half a million; takes an hour and 30 GB of disk."`
	Slots      int    `placeholder:"N" default:"256" help:"Concurrency of each worker process. Default: ${default}."`
	Intents    int    `placeholder:"N" help:"Intents in one round. Default: 30000, with --quick 10000."`
	Profile    string `placeholder:"FOLDER" help:"Write a profile of each worker process there, for go tool pprof."`
	Picture    string `placeholder:"FILE" help:"Draw the figures into this file, as SVG."`
	JSON       bool   `name:"json" help:"Print everything as one JSON object."`
}

func (benchCmd) Help() string {
	return `Measures the worker against what MongoDB itself allows, in one run: the ceiling (two batched, journaled majority writes an
intent and nothing else), worker processes with a provider that does nothing, the time from an insert to the call,
throughput beside a large backlog, what an intent costs, and e-mail through the real SDK to a simulator.
It uses the MongoDB that --mongodb-uri or OUTBOXD_MONGODB_URI names, with a database of its own that is dropped at the end,
or starts a throw-away mongod ($MONGOD, the PATH, or .cache/mongod). docs/performance.md explains each figure.`
}

func (c benchCmd) Run(p *program) error {
	o := bench.Options{
		Quick: c.Quick, Deep: c.Deep, Slots: c.Slots, Intents: c.Intents, Profile: c.Profile, Environ: p.environ, Log: p.err,
	}
	if err := c.check(&o); err != nil {
		return err
	}
	if p.source.Flags["mongodb-uri"] != "" {
		m, err := config.LoadMongo(p.source)
		if err != nil {
			return err
		}
		o.URI = m.URI.Reveal()
	}
	var err error
	if o.Executable, err = os.Executable(); err != nil {
		return fmt.Errorf("find this program's file, to start worker processes: %w", err)
	}
	o.Version, o.Revision = build()
	ctx, stop := p.interruptible()
	defer stop()
	report, err := bench.Run(ctx, o)
	if ctx.Err() != nil && err != nil {
		return fmt.Errorf("interrupted: %w", err)
	}
	if err != nil {
		return err
	}
	if c.JSON {
		err = json.NewEncoder(p.out).Encode(report)
	} else {
		err = report.Write(p.out, term.NewStyle(p.out, p.env))
	}
	if c.Picture != "" {
		err = errors.Join(err, draw(c.Picture, report))
	}
	return err
}

// draw writes the report's picture.
func draw(path string, report *bench.Report) (err error) {
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("draw the figures: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return report.Picture(file)
}

// check finds what is wrong with the flags, all of it.
func (c benchCmd) check(o *bench.Options) error {
	var errs []error
	if c.Only != "" {
		for part := range strings.SplitSeq(c.Only, ",") {
			if part = strings.TrimSpace(part); !slices.Contains(bench.Parts(), part) {
				errs = append(errs, fmt.Errorf("flag --only: %q is no part; there are %s", part, strings.Join(bench.Parts(), ", ")))
			}
			o.Only = append(o.Only, part)
		}
	}
	if c.Slots < 1 {
		errs = append(errs, fmt.Errorf("flag --slots: is %d, must be at least 1", c.Slots))
	}
	if c.Intents < 0 {
		errs = append(errs, fmt.Errorf("flag --intents: is %d, must be at least 1", c.Intents))
	}
	if c.Quick && c.Deep {
		errs = append(errs, errors.New("flags --quick and --deep exclude each other"))
	}
	if err := errors.Join(errs...); err != nil {
		return wrongUse("%w", err)
	}
	return nil
}

// benchWorkerCmd is one worker process of a benchmark. It is started by benchCmd and by nobody else.
type benchWorkerCmd struct {
	Collection string `var:"OUTBOXD_COLLECTION" help:"Collection of the intents."`
	Slots      int    `help:"Concurrency of each lane."`
	Trace      bool   `help:"Tell of each call."`
	Real       bool   `help:"Call the real providers."`
	Profile    string `help:"File for a profile."`
}

func (c benchWorkerCmd) Run(p *program) error {
	cfg, err := config.LoadWorker(p.source)
	if err != nil {
		return err
	}
	p.collectSeldom()
	return bench.Work(p.ctx, bench.WorkOptions{
		Config: cfg, Slots: c.Slots, Trace: c.Trace, Real: c.Real, Profile: c.Profile, In: p.in, Out: p.out,
		Connect: func(ctx context.Context, o store.Options) (*store.Store, func(), error) {
			return connect(ctx, cfg.Mongo, o)
		},
	})
}
