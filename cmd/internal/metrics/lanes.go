package metrics

import (
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/outboxd/outboxd/dispatcher"
)

// Lanes tells the state of a worker's lanes at this moment.
type Lanes interface {
	Status() []dispatcher.LaneStatus
}

// desc returns how a gauge that is collected is described.
func (s *series) desc(name string) *prometheus.Desc {
	m := s.row(name, Gauge)
	return prometheus.NewDesc(m.FullName(), m.Help, m.labelNames(), nil)
}

// lanes asks for the lanes' states at each scrape.
type lanes struct {
	source                                             Lanes
	kinds                                              []string
	state, since, breaker, inFlight, slots, settleWait *prometheus.Desc

	mu   sync.Mutex
	seen map[string]seen
}

// seen is in which state a lane was last seen, and since when.
type seen struct {
	state string
	since time.Time
}

func newLanes(s *series, source Lanes) *lanes {
	l := &lanes{source: source, kinds: s.kinds, seen: make(map[string]seen), state: s.desc("lane_state"), since: s.desc("lane_state_since_seconds"),
		breaker: s.desc("breaker_state"), inFlight: s.desc("in_flight"), slots: s.desc("slots"), settleWait: s.desc("settle_queue")}
	l.look(source.Status())
	return l
}

// look notes which lanes changed their state, and returns for how long each has been in it.
func (l *lanes) look(all []dispatcher.LaneStatus) map[string]time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, ages := time.Now(), make(map[string]time.Duration)
	for _, s := range all {
		if l.seen[s.Kind].state != s.State {
			l.seen[s.Kind] = seen{s.State, now}
		}
		ages[s.Kind] = now.Sub(l.seen[s.Kind].since)
	}
	return ages
}

// Describe names the series, for [prometheus.Collector].
func (l *lanes) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{l.state, l.since, l.breaker, l.inFlight, l.slots, l.settleWait} {
		ch <- d
	}
}

// Collect asks for the values, for [prometheus.Collector]. A kind without a lane in this worker is in no state.
func (l *lanes) Collect(ch chan<- prometheus.Metric) {
	all := l.source.Status()
	ages := l.look(all)
	for _, kind := range l.kinds {
		var s dispatcher.LaneStatus
		if i := slices.IndexFunc(all, func(s dispatcher.LaneStatus) bool { return s.Kind == kind }); i >= 0 {
			s = all[i]
		}
		oneOf(ch, l.state, kind, s.State, LaneStates())
		oneOf(ch, l.breaker, kind, s.Breaker, []string{"closed", "half-open", "open"})
		for desc, v := range map[*prometheus.Desc]float64{
			l.since: ages[kind].Seconds(), l.inFlight: float64(s.InFlight), l.slots: float64(s.Slots), l.settleWait: float64(s.Settling),
		} {
			ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, kind)
		}
	}
}

func oneOf(ch chan<- prometheus.Metric, desc *prometheus.Desc, kind, is string, states []string) {
	for _, state := range states {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, truth(state == is), kind, state)
	}
}
