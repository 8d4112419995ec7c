package httpapi

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics counts answers. Business errors and transport errors are counted apart: the first are a matter of customers
// and their data, the second of this service and its clients.
type metrics struct {
	answers  *prometheus.CounterVec
	business *prometheus.CounterVec
	took     *prometheus.HistogramVec
}

// newMetrics registers the metrics. working and waiting are the requests that are under way.
func newMetrics(r prometheus.Registerer, working, waiting slots) *metrics {
	m := &metrics{
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "outbox_api_answers_total",
			Help: "Answers by route, status and outcome: success, business (422) or transport (every other error)."}, []string{"route", "outcome", "status"}),
		business: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "outbox_api_business_errors_total",
			Help: "Business errors by route and code. An answer may have several."}, []string{"route", "code"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "outbox_api_answer_seconds",
			Help:    "How long an answer took, by route. Those that wait for a change are in it.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 30}}, []string{"route"}),
	}
	gauge := func(name, help string, s slots) prometheus.GaugeFunc {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(len(s)) })
	}
	r.MustRegister(m.answers, m.business, m.took,
		gauge("outbox_api_working", "Requests that use the database now.", working), gauge("outbox_api_waiting", "Requests that wait for a change now.", waiting))
	return m
}

func (m *metrics) answered(x *exchange) {
	outcome := "success"
	switch e := x.outcome.(type) {
	case *businessError:
		outcome = "business"
		for _, code := range e.codes {
			m.business.WithLabelValues(x.route, code).Inc()
		}
	case *problem:
		outcome = "transport"
	}
	m.answers.WithLabelValues(x.route, outcome, strconv.Itoa(x.status)).Inc()
	m.took.WithLabelValues(x.route).Observe(time.Since(x.began).Seconds())
}

func (a *API) metricsHandler() http.Handler {
	return promhttp.HandlerFor(a.registry, promhttp.HandlerOpts{})
}
