package metrics

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/outboxd/outboxd/store"
)

// Queue tells what waits in the database.
type Queue interface {
	// Oldest returns, by kind, how long the oldest due intent has waited. A kind without due intents is absent.
	Oldest(ctx context.Context) (map[string]time.Duration, error)
	// Waiting counts, by kind, what is settled but for its consequences, and tells how long the oldest of that waits.
	Waiting(ctx context.Context) (map[string]store.Waiting, error)
}

const (
	queueTimeout = 2 * time.Second // of one question to the database
	queueAge     = 5 * time.Second // how long an answer, or its absence, is good
)

var (
	oldestDue = prometheus.NewDesc("outboxd_oldest_due_age_seconds", "How long the oldest due intent of a kind has waited; 0 if none is due. The kind \"other\" stands for all kinds without a provider.", []string{"kind"}, nil)
	waiting   = prometheus.NewDesc("outboxd_consequences_waiting", "Intents whose outcome is recorded, but whose follow-ups and write_back cannot be written yet; counted up to 10000.", []string{"kind"}, nil)
	waitAge   = prometheus.NewDesc("outboxd_consequences_waiting_age_seconds", "How long the oldest intent has waited for its follow-ups and write_back; 0 if none waits.", []string{"kind"}, nil)
	queueUp   = prometheus.NewDesc("outboxd_queue_up", "Whether the database answered the question what waits (1) or not (0).", nil, nil)
)

// queue asks the database at most once in queueAge, however often and by however many the page is scraped.
type queue struct {
	source Queue
	kinds  []string

	mu    sync.Mutex
	asked time.Time
	ages  map[string]time.Duration // nil if the database did not answer
	waits map[string]store.Waiting
}

func newQueue(source Queue, kinds []string) *queue { return &queue{source: source, kinds: kinds} }

// Describe names the series, for [prometheus.Collector].
func (q *queue) Describe(ch chan<- *prometheus.Desc) {
	ch <- oldestDue
	ch <- waiting
	ch <- waitAge
	ch <- queueUp
}

// Collect asks for the values, for [prometheus.Collector].
func (q *queue) Collect(ch chan<- prometheus.Metric) {
	ages, waits := q.ask()
	up := 1.0
	if ages == nil {
		up = 0
	}
	ch <- prometheus.MustNewConstMetric(queueUp, prometheus.GaugeValue, up)
	for kind, age := range ages {
		ch <- prometheus.MustNewConstMetric(oldestDue, prometheus.GaugeValue, age.Seconds(), kind)
	}
	for kind, w := range waits {
		ch <- prometheus.MustNewConstMetric(waiting, prometheus.GaugeValue, float64(w.N), kind)
		ch <- prometheus.MustNewConstMetric(waitAge, prometheus.GaugeValue, w.Age.Seconds(), kind)
	}
}

func (q *queue) ask() (map[string]time.Duration, map[string]store.Waiting) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.asked.IsZero() && time.Since(q.asked) < queueAge {
		return q.ages, q.waits
	}
	ctx, cancel := context.WithTimeout(context.Background(), queueTimeout)
	defer cancel()
	found, err := q.source.Oldest(ctx)
	var waits map[string]store.Waiting
	if err == nil {
		waits, err = q.source.Waiting(ctx)
	}
	q.asked, q.ages, q.waits = time.Now(), nil, nil
	if err != nil {
		return nil, nil
	}
	q.ages, q.waits = make(map[string]time.Duration, len(q.kinds)), make(map[string]store.Waiting, len(q.kinds))
	for _, kind := range q.kinds {
		q.ages[kind], q.waits[kind] = 0, store.Waiting{}
	}
	for kind, age := range found {
		if !slices.Contains(q.kinds, kind) {
			kind = other
		}
		q.ages[kind] = max(q.ages[kind], age)
	}
	for kind, w := range waits {
		if !slices.Contains(q.kinds, kind) {
			kind = other
		}
		q.waits[kind] = store.Waiting{N: q.waits[kind].N + w.N, Age: max(q.waits[kind].Age, w.Age)}
	}
	return q.ages, q.waits
}
