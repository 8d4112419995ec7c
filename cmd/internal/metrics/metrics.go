package metrics

import (
	"encoding/hex"
	"net/http"
	"runtime"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/outboxd/outboxd/dispatcher"
	"github.com/outboxd/outboxd/outbox"
)

// Config is what a [Metrics] is made of.
type Config struct {
	Kinds    []string // all that outboxd has a provider for
	Unserved []string // those of them that this worker has no credentials for
	Version  string
	Revision string
}

// Metrics counts what a worker does. It is a dispatcher.Observer, safe for concurrent use.
type Metrics struct {
	*series
	codes map[string]bool
	facts *facts

	attempts, lookUps, released, settled, dead, failures, notes, replies *prometheus.CounterVec
	claims, claimed, claimErrors, settleErrors, lost                     *prometheus.CounterVec
	attempt, delay, completion, claim, settle                            traced
	streamUp                                                             *prometheus.GaugeVec
}

// New makes the metrics of one worker, in a registry of their own.
func New(cfg Config) *Metrics {
	s := newSeries(cfg.Kinds, PerProcess, Deployment)
	m := &Metrics{
		series: s, codes: make(map[string]bool),

		attempts: s.counter("attempts_total"), lookUps: s.counter("lookups_total"), released: s.counter("released_total"),
		settled: s.counter("settled_total"), dead: s.counter("dead_letters_total"), failures: s.counter("failures_total"),
		notes: s.counter("notes_total"), replies: s.counter("provider_replies_total"),
		claims: s.counter("claims_total"), claimed: s.counter("claimed_intents_total"), claimErrors: s.counter("claim_errors_total"),
		settleErrors: s.counter("settle_errors_total"), lost: s.counter("lease_lost_total"),
		attempt: s.histogram("attempt_duration_seconds"), delay: s.histogram("queue_delay_seconds"),
		completion: s.histogram("completion_seconds"), claim: s.histogram("claim_duration_seconds"), settle: s.histogram("settle_duration_seconds"),
		streamUp: s.gauge("change_stream_up"),
	}
	for _, c := range outbox.Codes() {
		m.codes[c.Code] = true
	}
	m.streamUp.WithLabelValues().Set(1)
	s.gauge("build_info").WithLabelValues(cfg.Version, cfg.Revision, runtime.Version()).Set(1)
	served := s.gauge("kind_served")
	for _, kind := range cfg.Kinds {
		if !slices.Contains(cfg.Unserved, kind) {
			served.WithLabelValues(kind).Set(1)
		}
	}
	m.facts = newFacts(s)
	s.registry.MustRegister(m.facts, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// ShowLanes adds the state of the lanes to the page. It is called once.
func (m *Metrics) ShowLanes(source Lanes) { m.registry.MustRegister(newLanes(m.series, source)) }

// Handler serves the page, in the format that the scraper asks for: with OpenMetrics come exemplars, with the
// protobuf format native histograms. It asks the database nothing, and so answers at once whatever that does.
func (m *Metrics) Handler() http.Handler { return handler(m.registry) }

func handler(registry *prometheus.Registry) http.Handler {
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, EnableOpenMetrics: true})
}

// Claimed counts a claim.
func (m *Metrics) Claimed(kind string, n int, took time.Duration, err error) {
	kind = m.kind(kind)
	m.claims.WithLabelValues(kind).Inc()
	m.claimed.WithLabelValues(kind).Add(float64(n))
	m.claim.WithLabelValues(kind).Observe(took.Seconds())
	if err != nil {
		m.claimErrors.WithLabelValues(kind).Inc()
	}
}

// Called measures how long an intent waited for its first call.
func (m *Metrics) Called(in *outbox.Intent, action outbox.Action, at time.Time) {
	_, failed := in.Document["last_error"]
	if action != outbox.Send || in.FirstDueAt.IsZero() || in.Attempts > 1 || failed || len(in.History) > 0 || in.Retries > 0 {
		return
	}
	m.delay.observe(max(0, at.Sub(in.FirstDueAt)), in, time.Now(), m.kind(in.Kind))
}

// Settled counts an outcome.
func (m *Metrics) Settled(kind string, s outbox.Settlement) {
	kind = m.kind(kind)
	d, now := s.Decision, time.Now()
	m.settled.WithLabelValues(kind, string(d.Status)).Inc()
	if d.Status == outbox.StatusDead {
		m.dead.WithLabelValues(kind, string(d.Reason)).Inc()
	}
	switch d.Event {
	case outbox.Delivered, outbox.Failed:
		if d.Outcome != "" && d.Outcome != outbox.Expired && d.Outcome != outbox.Invalid { // those two ended between two steps
			m.attempts.WithLabelValues(kind, string(d.Outcome)).Inc()
		}
		m.attempt.observe(s.Took, s.Intent, now, kind)
	case outbox.Found:
		m.lookUps.WithLabelValues(kind, lookUpFound).Inc()
	case outbox.Absent:
		m.lookUps.WithLabelValues(kind, lookUpAbsent).Inc()
	case outbox.LookUpFailed:
		m.lookUps.WithLabelValues(kind, lookUpResult(d)).Inc()
	case outbox.Unsent:
		m.released.WithLabelValues(kind).Inc()
	default: // nothing was asked of a provider
	}
	if d.Outcome != "" && d.Outcome != outbox.Done {
		m.failed(kind, d)
	}
	if d.Status == outbox.StatusDone && s.Intent != nil {
		if begin := begun(s.Intent); !begin.IsZero() {
			m.completion.observe(max(0, s.Intent.Lease.At.Add(s.Took).Sub(begin)), s.Intent, now, kind)
		}
	}
}

// lookUpResult tells a provider that could not be asked from one whose answer settles nothing.
func lookUpResult(d outbox.Decision) string {
	for _, f := range []*outbox.Failure{d.Seen, d.Failure} {
		if f != nil && f.Code == outbox.CodeCannotTell {
			return lookUpCannotTell
		}
	}
	return lookUpFailed
}

// failed counts a failure on its side.
func (m *Metrics) failed(kind string, d outbox.Decision) {
	side, code := sideTransport, other
	if d.Outcome.Business() {
		side = sideBusiness
	}
	if f := d.Failure; f != nil && m.codes[f.Code] {
		code = f.Code
	}
	m.failures.WithLabelValues(kind, side, code).Inc()
}

// begun returns from when on an intent could have been done: its insert, or its due_at where that is later.
func begun(in *outbox.Intent) time.Time {
	inserted, _ := in.Document["created_at"].(time.Time)
	if inserted.IsZero() && in.ID.Type() == outbox.ObjectID {
		inserted = objectIDTime(in.ID)
	}
	if in.FirstDueAt.After(inserted) {
		return in.FirstDueAt
	}
	return inserted
}

// objectIDTime returns the second in which an ObjectId was made (MongoDB manual, "ObjectId").
func objectIDTime(id outbox.ID) time.Time {
	b, err := hex.DecodeString(id.String()[:8])
	if err != nil {
		return time.Time{}
	}
	return time.Unix(int64(b[0])<<24|int64(b[1])<<16|int64(b[2])<<8|int64(b[3]), 0)
}

// Wrote counts the writing of a batch.
func (m *Metrics) Wrote(_ int, took time.Duration, err error) {
	m.settle.WithLabelValues().Observe(took.Seconds())
	if err != nil {
		m.settleErrors.WithLabelValues().Inc()
	}
}

// LeaseLost counts an outcome that could not be written.
func (m *Metrics) LeaseLost(kind string) { m.lost.WithLabelValues(m.kind(kind)).Inc() }

// Noted counts what went wrong beside an outcome that was written.
func (m *Metrics) Noted(kind, code string) {
	if code != outbox.CodeWriteBackMissed && code != outbox.CodeFollowUpRefused {
		code = other
	}
	m.notes.WithLabelValues(m.kind(kind), code).Inc()
}

// Replied counts an HTTP answer of a provider to one of the operations send, lookup and cancel. The status is 0 if none
// came.
func (m *Metrics) Replied(provider, operation string, status int) {
	m.replies.WithLabelValues(provider, operation, statusClass(status)).Inc()
}

func statusClass(status int) string {
	switch {
	case status == http.StatusTooManyRequests:
		return "429"
	case status >= 200 && status < 600:
		return string(rune('0'+status/100)) + "xx"
	default:
		return "none"
	}
}

// StreamUp notes whether the database grants the change stream that this worker wants.
func (m *Metrics) StreamUp(up bool) { m.streamUp.WithLabelValues().Set(truth(up)) }

func (m *Metrics) kind(kind string) string {
	if slices.Contains(m.kinds, kind) {
		return kind
	}
	return other
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// It has to stay one.
var _ dispatcher.Observer = (*Metrics)(nil)
