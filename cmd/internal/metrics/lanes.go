package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/outboxd/outboxd/dispatcher"
)

// Lanes tells the state of a worker's lanes at this moment.
type Lanes interface {
	Status() []dispatcher.LaneStatus
}

var (
	laneState    = prometheus.NewDesc("outboxd_lane_state", "The state of the lane: 1 for that state, 0 for the others.", []string{"kind", "state"}, nil)
	breakerState = prometheus.NewDesc("outboxd_breaker_state", "The state of the lane's breaker: 1 for that state, 0 for the others.", []string{"kind", "state"}, nil)
	inFlight     = prometheus.NewDesc("outboxd_in_flight", "Intents that this worker holds a lease on.", []string{"kind"}, nil)
)

// lanes asks for the lanes' states at each scrape.
type lanes struct{ source Lanes }

// Describe names the series, for [prometheus.Collector].
func (l *lanes) Describe(ch chan<- *prometheus.Desc) {
	ch <- laneState
	ch <- breakerState
	ch <- inFlight
}

// Collect asks for the values, for [prometheus.Collector].
func (l *lanes) Collect(ch chan<- prometheus.Metric) {
	states := []string{dispatcher.StateOpen, dispatcher.StatePaused, dispatcher.StateHeld, dispatcher.StateGated, dispatcher.StateBroken}
	for _, s := range l.source.Status() {
		oneOf(ch, laneState, s.Kind, s.State, states)
		oneOf(ch, breakerState, s.Kind, s.Breaker, []string{"closed", "half-open", "open"})
		ch <- prometheus.MustNewConstMetric(inFlight, prometheus.GaugeValue, float64(s.InFlight), s.Kind)
	}
}

func oneOf(ch chan<- prometheus.Metric, desc *prometheus.Desc, kind, is string, states []string) {
	for _, state := range states {
		v := 0.0
		if state == is {
			v = 1
		}
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, kind, state)
	}
}
