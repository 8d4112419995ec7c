package metrics

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var foreignDocuments = prometheus.NewDesc("outboxd_foreign_documents",
	"Documents of the outbox collection that have no kind, counted up to 1000. They are no intents, and no worker touches them.", nil, nil)

// foreign asks the database at most once in queueAge. Its series is missing while the database does not answer.
type foreign struct {
	count func(context.Context) (int64, error)

	mu    sync.Mutex
	asked time.Time
	n     int64
	err   error
}

// Describe names the series.
func (f *foreign) Describe(ch chan<- *prometheus.Desc) { ch <- foreignDocuments }

// Collect counts.
func (f *foreign) Collect(ch chan<- prometheus.Metric) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.asked.IsZero() || time.Since(f.asked) >= queueAge {
		ctx, cancel := context.WithTimeout(context.Background(), queueTimeout)
		defer cancel()
		f.n, f.err = f.count(ctx)
		f.asked = time.Now()
	}
	if f.err == nil {
		ch <- prometheus.MustNewConstMetric(foreignDocuments, prometheus.GaugeValue, float64(f.n))
	}
}
