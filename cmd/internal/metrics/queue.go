package metrics

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Queue tells what waits in the database.
type Queue interface {
	// Oldest returns, by kind, how long the oldest due intent has waited. A kind without due intents is absent.
	Oldest(ctx context.Context) (map[string]time.Duration, error)
}

const (
	queueTimeout = 2 * time.Second // of one question to the database
	queueAge     = 5 * time.Second // how long an answer, or its absence, is good
)

var (
	oldestDue = prometheus.NewDesc("outboxd_oldest_due_age_seconds", "How long the oldest due intent of a kind has waited; 0 if none is due. The kind \"other\" is all that outboxd has no provider for.", []string{"kind"}, nil)
	queueUp   = prometheus.NewDesc("outboxd_queue_up", "1 if the database answered what waits, else 0.", nil, nil)
)

// queue asks the database at most once in queueAge, however often and by however many the page is scraped.
type queue struct {
	source Queue
	kinds  []string

	mu    sync.Mutex
	asked time.Time
	ages  map[string]time.Duration // nil if the database did not answer
}

func newQueue(source Queue, kinds []string) *queue { return &queue{source: source, kinds: kinds} }

func (q *queue) Describe(ch chan<- *prometheus.Desc) {
	ch <- oldestDue
	ch <- queueUp
}

func (q *queue) Collect(ch chan<- prometheus.Metric) {
	ages, up := q.ask(), 1.0
	if ages == nil {
		up = 0
	}
	ch <- prometheus.MustNewConstMetric(queueUp, prometheus.GaugeValue, up)
	for kind, age := range ages {
		ch <- prometheus.MustNewConstMetric(oldestDue, prometheus.GaugeValue, age.Seconds(), kind)
	}
}

func (q *queue) ask() map[string]time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.asked.IsZero() && time.Since(q.asked) < queueAge {
		return q.ages
	}
	ctx, cancel := context.WithTimeout(context.Background(), queueTimeout)
	defer cancel()
	found, err := q.source.Oldest(ctx)
	q.asked, q.ages = time.Now(), nil
	if err != nil {
		return nil
	}
	q.ages = make(map[string]time.Duration, len(q.kinds))
	for _, kind := range q.kinds {
		q.ages[kind] = 0
	}
	for kind, age := range found {
		if !slices.Contains(q.kinds, kind) {
			kind = other
		}
		q.ages[kind] = max(q.ages[kind], age)
	}
	return q.ages
}
