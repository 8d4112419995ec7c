package metrics

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/outboxd/outboxd/internal/timing"
	"github.com/outboxd/outboxd/outbox"
)

// Database tells what all workers know. It is asked every few seconds, whoever scrapes.
type Database interface {
	// Census returns the last census.
	Census(ctx context.Context) (outbox.Census, error)
	// Workers returns the live workers.
	Workers(ctx context.Context) ([]outbox.Worker, error)
	// Now returns the database's time as the process knows it, without asking.
	Now() time.Time
}

const (
	factsEvery   = 3 * time.Second        // between two questions to the database
	factsFirst   = 200 * time.Millisecond // the same until a worker has taken a census
	factsTimeout = 2 * time.Second        // of one
)

// facts are what the database last told. They outlive its silence: an age goes on growing, since nothing says that the
// wait has ended.
type facts struct {
	kinds []string
	descs map[string]*prometheus.Desc

	mu       sync.Mutex
	db       Database // nil: not asked yet
	census   outbox.Census
	workers  map[string]int
	up       bool
	answered time.Time // by this machine's clock
}

// gauges are the names of what facts tells, each with its labels.
func gauges() []string {
	return []string{"waiting", "due", "scheduled", "count_capped", "oldest_due_age_seconds", "oldest_unfinished_age_seconds", "in_doubt",
		"oldest_in_doubt_age_seconds", "ambiguous_dead", "outcomes_unwritten", "oldest_unwritten_age_seconds", "workers",
		"foreign_documents", "census_age_seconds", "census_cut", "database_up", "database_silent_seconds", "clock_offset_seconds"}
}

func newFacts(s *series) *facts {
	f := &facts{kinds: s.kinds, descs: make(map[string]*prometheus.Desc), answered: time.Now()}
	for _, name := range gauges() {
		f.descs[name] = s.desc(name)
	}
	return f
}

// Watch asks the database again and again until ctx ends, for the figures that are the same on every worker. tell is
// told when it falls silent and when it answers again, and how long it was silent.
func (m *Metrics) Watch(ctx context.Context, db Database, tell func(up bool, silent time.Duration)) {
	wasUp := true
	for {
		wait, before := factsEvery, m.facts.since()
		up := m.facts.ask(ctx, db)
		if up != wasUp && ctx.Err() == nil {
			wasUp = up
			tell(up, time.Since(before))
		}
		if m.facts.untaken() {
			wait = factsFirst
		}
		if timing.Sleep(ctx, wait) != nil {
			return
		}
	}
}

// untaken reports whether no census was seen yet.
func (f *facts) untaken() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.census.At.IsZero()
}

// since returns when the database last answered.
func (f *facts) since() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.answered
}

// ask reports whether the database answered.
func (f *facts) ask(ctx context.Context, db Database) bool {
	ctx, cancel := context.WithTimeout(ctx, factsTimeout)
	defer cancel()
	census, err := db.Census(ctx)
	var workers []outbox.Worker
	if err == nil {
		workers, err = db.Workers(ctx)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.db = db
	if f.up = err == nil; !f.up {
		return false
	}
	f.census, f.answered, f.workers = census, time.Now(), make(map[string]int)
	for _, w := range workers {
		for _, kind := range w.Kinds {
			f.workers[f.kind(kind)]++
		}
	}
	return true
}

func (f *facts) kind(kind string) string {
	if slices.Contains(f.kinds, kind) {
		return kind
	}
	return other
}

// Describe names the series, for [prometheus.Collector].
func (f *facts) Describe(ch chan<- *prometheus.Desc) {
	for _, name := range gauges() {
		ch <- f.descs[name]
	}
}

// Collect tells what is known, for [prometheus.Collector].
func (f *facts) Collect(ch chan<- prometheus.Metric) {
	f.mu.Lock()
	defer f.mu.Unlock()
	tell := func(name string, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(f.descs[name], prometheus.GaugeValue, v, labels...)
	}
	var now time.Time
	offset := 0.0
	if f.db != nil {
		now = f.db.Now()
		offset = time.Until(now).Seconds()
	}
	age := func(since time.Time) float64 {
		if since.IsZero() || now.IsZero() {
			return 0
		}
		return max(0, now.Sub(since).Seconds())
	}
	for kind, k := range f.byKind() {
		tell("waiting", float64(k.Waiting.N), kind)
		tell("due", float64(k.Due.N), kind)
		tell("scheduled", float64(k.Scheduled.N), kind)
		tell("count_capped", truth(k.Waiting.Capped || k.InDoubt.Capped || k.AmbiguousDead.Capped || k.Unwritten.Capped), kind)
		tell("oldest_due_age_seconds", age(k.OldestDue), kind)
		tell("oldest_unfinished_age_seconds", age(k.OldestUnfinished), kind)
		tell("in_doubt", float64(k.InDoubt.N), kind)
		tell("oldest_in_doubt_age_seconds", age(k.OldestInDoubt), kind)
		tell("ambiguous_dead", float64(k.AmbiguousDead.N), kind)
		tell("outcomes_unwritten", float64(k.Unwritten.N), kind)
		tell("oldest_unwritten_age_seconds", age(k.OldestUnwritten), kind)
		tell("workers", float64(f.workers[kind]), kind)
	}
	tell("foreign_documents", float64(f.census.Foreign.N))
	tell("census_age_seconds", age(f.census.At))
	tell("census_cut", truth(f.census.Cut))
	tell("database_up", truth(f.up))
	tell("database_silent_seconds", time.Since(f.answered).Seconds())
	tell("clock_offset_seconds", offset)
}

// byKind returns the census of each kind. All that outboxd has no provider for is one.
func (f *facts) byKind() map[string]outbox.KindCensus {
	all := make(map[string]outbox.KindCensus)
	for _, kind := range f.kinds {
		all[kind] = outbox.KindCensus{Kind: kind}
	}
	for _, k := range f.census.Kinds {
		sum := all[f.kind(k.Kind)]
		for _, c := range []struct {
			to   *outbox.Count
			more outbox.Count
		}{
			{&sum.Waiting, k.Waiting}, {&sum.Due, k.Due}, {&sum.Scheduled, k.Scheduled}, {&sum.InDoubt, k.InDoubt},
			{&sum.AmbiguousDead, k.AmbiguousDead}, {&sum.Unwritten, k.Unwritten},
		} {
			*c.to = c.to.Plus(c.more)
		}
		for _, t := range []struct {
			to   *time.Time
			more time.Time
		}{
			{&sum.OldestDue, k.OldestDue}, {&sum.OldestUnfinished, k.OldestUnfinished}, {&sum.OldestInDoubt, k.OldestInDoubt},
			{&sum.OldestUnwritten, k.OldestUnwritten},
		} {
			if !t.more.IsZero() && (t.to.IsZero() || t.more.Before(*t.to)) {
				*t.to = t.more
			}
		}
		all[f.kind(k.Kind)] = sum
	}
	return all
}
