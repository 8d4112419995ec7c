package metrics

import (
	"context"
	"net/http"
	"runtime"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/outboxd/outboxd/outbox"
)

// other stands for every kind and code that is not known beforehand.
const other = "other"

// Config is what a [Metrics] is made of.
type Config struct {
	Kinds    []string // all that outboxd has a provider for
	Unserved []string // those of them that this worker has no credentials for
	Queue    Queue
	Foreign  func(context.Context) (int64, error) // counts documents that are no intents; nil: nobody does
	Version  string
	Revision string
}

// Metrics counts what a worker does. It is a dispatcher.Observer, safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry
	kinds    []string
	codes    map[string]bool

	settled  *prometheus.CounterVec
	attempt  *prometheus.HistogramVec
	claims   *prometheus.CounterVec
	claimed  *prometheus.CounterVec
	failures *prometheus.CounterVec
	claim    *prometheus.HistogramVec
	lost     *prometheus.CounterVec
	notes    *prometheus.CounterVec
}

// New makes the metrics of one worker, in a registry of their own.
func New(cfg Config) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), kinds: cfg.Kinds, codes: make(map[string]bool)}
	for _, c := range outbox.Codes() {
		m.codes[c.Code] = true
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "outboxd_" + name, Help: help}, labels)
		m.registry.MustRegister(c)
		return c
	}
	histogram := func(name, help string, buckets []float64) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "outboxd_" + name, Help: help, Buckets: buckets}, []string{"kind"})
		m.registry.MustRegister(h)
		return h
	}
	m.settled = counter("settled_total", "Outcomes written: the attempt's class, the status that follows, the reason of a dead letter, the code of a failure.",
		"kind", "outcome", "status", "reason", "code")
	m.attempt = histogram("attempt_duration_seconds", "How long attempts took, all calls to the provider together.",
		[]float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20, 60})
	m.claims = counter("claims_total", "Claims made, empty ones included.", "kind")
	m.claimed = counter("claimed_intents_total", "Intents claimed.", "kind")
	m.failures = counter("claim_errors_total", "Claims that failed.", "kind")
	m.claim = histogram("claim_duration_seconds", "How long claims took.", []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5, 15})
	m.lost = counter("lease_lost_total", "Outcomes that were not written because another worker had claimed the intent again.", "kind")

	m.notes = counter("notes_total", "Warnings beside an outcome that was written, such as a write_back without a target.", "kind", "code")

	for _, kind := range cfg.Kinds { // series that are there from the start can be alerted on
		m.claims.WithLabelValues(kind)
		m.claimed.WithLabelValues(kind)
		m.failures.WithLabelValues(kind)
		m.lost.WithLabelValues(kind)
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{Name: "outboxd_build_info", Help: "How this outboxd was built, as labels; the value is always 1.",
		ConstLabels: prometheus.Labels{"version": cfg.Version, "revision": cfg.Revision, "goversion": runtime.Version()}})
	info.Set(1)
	if cfg.Foreign != nil {
		m.registry.MustRegister(&foreign{count: cfg.Foreign})
	}
	m.registry.MustRegister(info, unserved(cfg), newQueue(cfg.Queue, cfg.Kinds),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func unserved(cfg Config) prometheus.Collector {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "outboxd_kind_served", Help: "Whether this worker has credentials for the kind (1) or not (0). Intents of an unserved kind stay pending."}, []string{"kind"})
	for _, kind := range cfg.Kinds {
		served := 1.0
		if slices.Contains(cfg.Unserved, kind) {
			served = 0
		}
		g.WithLabelValues(kind).Set(served)
	}
	return g
}

// ShowLanes adds the state of the lanes to the page. It is called once.
func (m *Metrics) ShowLanes(source Lanes) { m.registry.MustRegister(&lanes{source: source}) }

// Handler serves the page. If a collector fails, its series are missing; all others are served.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}

// Claimed counts a claim.
func (m *Metrics) Claimed(kind string, n int, took time.Duration, err error) {
	kind = m.kind(kind)
	m.claims.WithLabelValues(kind).Inc()
	m.claimed.WithLabelValues(kind).Add(float64(n))
	m.claim.WithLabelValues(kind).Observe(took.Seconds())
	if err != nil {
		m.failures.WithLabelValues(kind).Inc()
	}
}

// Settled counts an outcome.
func (m *Metrics) Settled(kind string, s outbox.Settlement) {
	kind = m.kind(kind)
	d := s.Decision
	code := ""
	if d.Failure != nil {
		code = d.Failure.Code
		if !m.codes[code] {
			code = other
		}
	}
	m.settled.WithLabelValues(kind, string(d.Outcome), string(d.Status), string(d.Reason), code).Inc()
	if d.Counted {
		m.attempt.WithLabelValues(kind).Observe(s.Took.Seconds())
	}
}

// Called counts nothing.
func (m *Metrics) Called(*outbox.Intent, outbox.Action, time.Time) {}

// Wrote counts nothing.
func (m *Metrics) Wrote(int, time.Duration, error) {}

// LeaseLost counts an outcome that could not be written.
func (m *Metrics) LeaseLost(kind string) { m.lost.WithLabelValues(m.kind(kind)).Inc() }

// Noted counts what went wrong beside an outcome that was written.
func (m *Metrics) Noted(kind, code string) {
	if !m.codes[code] {
		code = other
	}
	m.notes.WithLabelValues(m.kind(kind), code).Inc()
}

func (m *Metrics) kind(kind string) string {
	if slices.Contains(m.kinds, kind) {
		return kind
	}
	return other
}
