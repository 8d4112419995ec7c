package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/integration/chaos/check"
	"github.com/outboxd/outboxd/integration/chaos/journal"
	"github.com/outboxd/outboxd/integration/chaos/plan"
)

const (
	finalPatience = 3 * time.Minute // for everything to be final once all has healed
	collectLimit  = 2 * time.Minute
	producerCount = 4
)

// config is a run's.
type config struct {
	seed    uint64
	length  time.Duration
	workers int
	rate    float64
	uri     string
	dir     string
	say     func(format string, args ...any)
}

// outcome is what came of a run.
type outcome struct {
	Seed     uint64         `json:"seed"`
	Length   string         `json:"length"`
	MongoDB  string         `json:"mongodb"`
	Workers  int            `json:"workers"`
	Started  int            `json:"workers_started"`
	Faults   map[string]int `json:"faults"`
	Rolled   int            `json:"rollbacks"` // of writes that a majority did not have
	Outages  int            `json:"outages"`   // times of half a second and more in which the database took no write
	Longest  string         `json:"longest_outage"`
	Settling string         `json:"settling"` // from the last fault to the last intent's end
	check.Report
}

// run makes one run and judges it. An error means that it could not be made.
func run(ctx context.Context, c config) (out outcome, err error) {
	c.say("%-9s building outboxd and starting the database", "stage")
	s, err := setStage(ctx, c.dir, c.uri, true)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, s.clear()) }()
	out = outcome{Seed: c.seed, Length: c.length.String(), MongoDB: s.version, Workers: c.workers}

	r := rand.New(rand.NewPCG(c.seed, 100))
	var slots []*slot
	for n := range c.workers {
		sl, err := s.newSlot(n, false, rand.New(rand.NewPCG(c.seed, 200+r.Uint64N(100))))
		if err != nil {
			return out, err
		}
		slots = append(slots, sl)
	}
	w, err := s.watch(ctx)
	if err != nil {
		return out, err
	}
	defer w.stop()
	path := filepath.Join(c.dir, "producers.jsonl")
	j, err := journal.Create(path)
	if err != nil {
		return out, err
	}
	defer func() {
		for _, sl := range slots {
			err = errors.Join(err, sl.close())
		}
	}()
	for _, sl := range slots {
		if _, err := sl.start(); err != nil {
			return out, err
		}
	}

	events := plan.New(c.seed, plan.Options{Length: c.length, Slots: c.workers, Nodes: s.set != nil, Lease: messageLease, Longest: chargeLease,
		Latency: providerLate, DBLate: databaseLate, Election: election})
	a := newActor(s, slots, c.say)
	c.say("%-9s %d faults in %v, seed %d, MongoDB %s", "plan", len(events), c.length, c.seed, s.version)
	if err := act(ctx, c, a, &producers{stage: s, journal: j, seed: c.seed, rate: c.rate}, events); err != nil {
		return out, errors.Join(err, j.Close())
	}
	if err := j.Close(); err != nil {
		return out, err
	}
	healed := time.Now()
	c.say("%-9s all faults are over; waiting until every intent has ended", "heal")
	left := s.awaitFinal(ctx)
	out.Settling = time.Since(healed).Round(100 * time.Millisecond).String()
	if left > 0 {
		c.say("%-9s %d intents have not ended", "heal", left)
	}
	for _, sl := range slots {
		if err := sl.close(); err != nil {
			return out, err
		}
	}
	h, err := s.collect(ctx, w, path, slots, a)
	if err != nil {
		return out, err
	}
	out.Report = check.Judge(h)
	out.Faults, out.Started = a.counts, len(h.Workers)
	gaps := w.pulse.outages()
	var longest time.Duration
	for _, g := range gaps {
		longest = max(longest, g.To.Sub(g.From))
	}
	out.Outages, out.Longest, out.Rolled = len(gaps), longest.Round(100*time.Millisecond).String(), s.rollbacks()
	return out, nil
}

// act lets producers write while the plan is carried out, and heals everything.
func act(ctx context.Context, c config, a *actor, p *producers, events []plan.Event) error {
	within, over := context.WithTimeout(ctx, c.length)
	defer over()
	var both sync.WaitGroup
	var acted, healed, produced error
	both.Go(func() {
		acted = a.run(ctx, events)
		healed = a.heal(context.WithoutCancel(ctx)) // producers may be waiting for the database
	})
	both.Go(func() { produced = p.run(within, producerCount) })
	both.Wait()
	<-within.Done()
	return errors.Join(acted, healed, produced, ctx.Err())
}

// watchers see what happens from outside.
type watchers struct {
	observer *observer
	pulse    *pulse
	stop     func()
	mu       sync.Mutex
	err      error
}

func (s *stage) watch(ctx context.Context) (*watchers, error) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	w := &watchers{stop: func() { cancel(); running.Wait() }}
	o, stream, err := newObserver(ctx, s)
	if err == nil {
		w.observer = o
		w.pulse, err = newPulse(s)
	}
	if err != nil {
		cancel()
		return nil, err
	}
	running.Go(func() {
		err := o.run(ctx, stream)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.err = err
	})
	running.Go(func() { w.pulse.run(ctx) })
	return w, nil
}

// awaitFinal waits until nothing is left that is due within a while, and returns how much is left after all.
func (s *stage) awaitFinal(ctx context.Context) int64 {
	ctx, cancel := context.WithTimeout(ctx, finalPatience)
	defer cancel()
	left := int64(-1)
	for {
		filter := bson.D{{Key: "due_at", Value: bson.D{{Key: "$lt", Value: time.Now().Add(farAway / 2)}}}}
		if n, err := s.db.Collection(collection).CountDocuments(ctx, filter); err == nil {
			if left = n; left == 0 {
				return 0
			}
		}
		select {
		case <-ctx.Done():
			return left
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// collect gathers what everybody saw.
func (s *stage) collect(ctx context.Context, w *watchers, path string, slots []*slot, a *actor) (h check.History, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, collectLimit, fmt.Errorf("not collected within %v", collectLimit))
	defer cancel()
	w.mu.Lock()
	err = w.err
	w.mu.Unlock()
	if err != nil {
		return h, err
	}
	if h.Changes, err = w.observer.catchUp(ctx); err != nil {
		return h, err
	}
	w.stop()
	if h.Docs, err = read(ctx, s.db.Collection(collection), func(d *check.Doc) string { return d.ID }); err != nil {
		return h, err
	}
	h.End = time.Now()
	if h.Orders, err = read(ctx, s.db.Collection(orders), func(o check.Order) string { return o.ID }); err != nil {
		return h, err
	}
	if h.Shared, err = s.readShared(ctx); err != nil {
		return h, err
	}
	if h.Effects, err = s.effects(ctx); err != nil {
		return h, err
	}
	if h.Journal, err = check.ReadJournal(path); err != nil {
		return h, err
	}
	for _, g := range w.pulse.outages() {
		a.troubles = append(a.troubles, check.Trouble{Span: g, Slot: -1, What: "no writes"})
	}
	h.Troubles, h.Delays, h.Hands, h.Rules, h.Namespace = a.troubles, a.delays, a.hands, rules(s.apart), s.namespace
	for _, sl := range slots {
		for _, r := range sl.records() {
			r.Drained = r.Told == "term" && undisturbed(r, h.Troubles)
			h.Workers = append(h.Workers, r)
		}
	}
	return h, nil
}

// undisturbed reports whether nothing was wrong with the database while a worker that was told to end did so.
func undisturbed(r check.Worker, troubles []check.Trouble) bool {
	for _, t := range troubles {
		if (t.Slot < 0 || t.Slot == r.Slot) && t.Overlaps(r.Ended.Add(-drain-recovery), r.Ended) {
			return false
		}
	}
	return r.Name != ""
}

// rollbacks counts how often a member took back writes that no majority had, by its log.
func (s *stage) rollbacks() int {
	if s.set == nil {
		return 0
	}
	n := 0
	for _, m := range s.set.Members {
		text, err := os.ReadFile(m.LogPath())
		if err != nil {
			continue // a count for people
		}
		n += strings.Count(string(text), `"msg":"Rollback summary"`)
	}
	return n
}
