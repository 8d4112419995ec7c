package metrics

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// AdminMetrics counts what the process of `outboxd admin` does. It is safe for concurrent use.
type AdminMetrics struct {
	*series
	requests, logins, reveals *prometheus.CounterVec
	duration                  traced
	jobs, stalled             *prometheus.GaugeVec
}

// NewAdmin makes the metrics of one admin process, in a registry of their own.
func NewAdmin() *AdminMetrics {
	s := newSeries(nil, Admin)
	m := &AdminMetrics{series: s, requests: s.counter("admin_requests_total"), logins: s.counter("admin_logins_failed_total"),
		reveals: s.counter("admin_reveals_total"), duration: s.histogram("admin_request_duration_seconds"),
		jobs: s.gauge("jobs"), stalled: s.gauge("jobs_stalled")}
	s.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Handler serves the page.
func (m *AdminMetrics) Handler() http.Handler { return handler(m.registry) }

// Requested counts a request. The route is the pattern, never the path that a client wrote.
func (m *AdminMetrics) Requested(route string, status int, took time.Duration) {
	m.requests.WithLabelValues(route, string(rune('0'+min(max(status/100, 2), 5)))+"xx").Inc()
	m.duration.WithLabelValues().Observe(took.Seconds())
}

// LoginFailed counts a login that was refused.
func (m *AdminMetrics) LoginFailed() { m.logins.WithLabelValues().Inc() }

// Revealed counts a payload that was shown unmasked.
func (m *AdminMetrics) Revealed() { m.reveals.WithLabelValues().Inc() }

// Jobs tells how many jobs are in each state, and how many of the running ones make no progress.
func (m *AdminMetrics) Jobs(byState map[string]int, stalled int) {
	for _, values := range m.combinations(m.row("jobs", Gauge)) {
		m.jobs.WithLabelValues(values...).Set(float64(byState[values[0]]))
	}
	m.stalled.WithLabelValues().Set(float64(stalled))
}
