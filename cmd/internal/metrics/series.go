package metrics

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/outboxd/outboxd/outbox"
)

// series makes the metrics of the catalogue, each with all its series at 0: what appears with its first event cannot be
// alerted on.
type series struct {
	registry *prometheus.Registry
	kinds    []string // "other" included
	rows     map[string]Metric
}

func newSeries(kinds []string, scopes ...Scope) *series {
	s := &series{registry: prometheus.NewRegistry(), kinds: append(slices.Clone(kinds), other), rows: make(map[string]Metric)}
	for _, m := range Catalogue() {
		if slices.Contains(scopes, m.Scope) {
			s.rows[m.Name] = m
		}
	}
	return s
}

// row returns a row of the catalogue. That there is none, or of another type, is a defect of this package.
func (s *series) row(name string, t Type) Metric {
	m, ok := s.rows[name]
	if !ok || m.Type != t {
		panic("metrics: the catalogue has no " + string(t) + " " + name)
	}
	return m
}

func (m Metric) labelNames() []string {
	var names []string
	for _, l := range m.Labels {
		names = append(names, l.Name)
	}
	return names
}

// combinations returns all values of the labels that a metric can have. It returns nothing where a label's values
// depend on the build.
func (s *series) combinations(m Metric) [][]string {
	all := [][]string{nil}
	for i, l := range m.Labels {
		if l.Example != "" {
			return nil
		}
		next := [][]string{l.Values}
		switch {
		case i == 1 && m.Pairs != nil:
			next = m.Pairs
		default:
			values := l.Values
			if values == nil {
				values = s.kinds
			}
			next = next[:0]
			for _, v := range values {
				next = append(next, []string{v})
			}
		}
		var longer [][]string
		for _, before := range all {
			for _, values := range next {
				longer = append(longer, slices.Concat(before, values))
			}
		}
		all = longer
		if i == 1 && m.Pairs != nil {
			return all
		}
	}
	return all
}

func (s *series) counter(name string) *prometheus.CounterVec {
	m := s.row(name, Counter)
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: m.FullName(), Help: m.Help}, m.labelNames())
	for _, values := range s.combinations(m) {
		c.WithLabelValues(values...)
	}
	s.registry.MustRegister(c)
	return c
}

func (s *series) gauge(name string) *prometheus.GaugeVec {
	m := s.row(name, Gauge)
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: m.FullName(), Help: m.Help}, m.labelNames())
	for _, values := range s.combinations(m) {
		g.WithLabelValues(values...)
	}
	s.registry.MustRegister(g)
	return g
}

// Native histograms of this resolution tell a quantile to about five percent.
const (
	nativeFactor  = 1.1
	nativeBuckets = 160
	nativeReset   = time.Hour
)

func (s *series) histogram(name string) traced {
	m := s.row(name, Histogram)
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: m.FullName(), Help: m.Help, Buckets: m.Bounds,
		NativeHistogramBucketFactor: nativeFactor, NativeHistogramMaxBucketNumber: nativeBuckets, NativeHistogramMinResetDuration: nativeReset,
	}, m.labelNames())
	for _, values := range s.combinations(m) {
		h.WithLabelValues(values...)
	}
	s.registry.MustRegister(h)
	return traced{h, new(atomic.Int64)}
}

// An exemplar costs more than the measurement. So a histogram takes one of them at a time, and all of what was slow.
const (
	exemplarEvery = 100 * time.Millisecond
	exemplarSlow  = time.Second
)

// traced is a histogram that keeps a trace's id beside some of its measurements.
type traced struct {
	*prometheus.HistogramVec
	next *atomic.Int64 // when the next exemplar is taken
}

// observe notes a duration, and the trace in which it was measured, if there is one and it is time for it. now is any
// clock that goes on.
func (h traced) observe(d time.Duration, in *outbox.Intent, now time.Time, labels ...string) {
	o := h.WithLabelValues(labels...)
	if e, ok := o.(prometheus.ExemplarObserver); ok && in != nil && in.Trace.Parent != "" && h.takes(d, now.UnixNano()) {
		if trace := in.Trace.ID(); trace != "" {
			e.ObserveWithExemplar(d.Seconds(), prometheus.Labels{"trace_id": trace})
			return
		}
	}
	o.Observe(d.Seconds())
}

// takes reports whether the measurement gets an exemplar.
func (h traced) takes(d time.Duration, now int64) bool {
	next := h.next.Load()
	return d >= exemplarSlow || now >= next && h.next.CompareAndSwap(next, now+int64(exemplarEvery))
}
