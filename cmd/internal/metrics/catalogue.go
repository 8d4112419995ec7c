package metrics

import (
	"slices"

	"github.com/outboxd/outboxd/dispatcher"
	"github.com/outboxd/outboxd/outbox"
)

// Type is what Prometheus makes of a metric.
type Type string

// The types of metrics.
const (
	Counter   Type = "counter"
	Gauge     Type = "gauge"
	Histogram Type = "histogram"
)

// Scope says whose figure a metric is.
type Scope string

// The scopes of metrics.
const (
	// PerProcess is what one process did or is: sum it over all.
	PerProcess Scope = "process"
	// Deployment is the same on every worker, from the census or the registry: take the maximum, never the sum.
	Deployment Scope = "deployment"
	// Admin is what the process of `outboxd admin` did.
	Admin Scope = "admin"
)

// Label is one label of a metric. Its values are bounded.
type Label struct {
	Name string
	// Values are all that there are. Nil: the kinds that outboxd has a provider for, and "other".
	Values []string
	// Example stands in the documentation for values that depend on the build. Such a label has no series at 0.
	Example string
}

// Metric is one row of the catalogue.
type Metric struct {
	Name   string // without the prefix
	Type   Type
	Scope  Scope
	Labels []Label
	Help   string    // also the text of the documentation
	Bounds []float64 // of a histogram, in seconds: the classic buckets, beside the native ones
	// Pairs are the combinations of the labels after the first one, where not all of them can come.
	Pairs [][]string
}

// prefix begins each name.
const prefix = "outboxd_"

// FullName returns the name as Prometheus has it.
func (m Metric) FullName() string { return prefix + m.Name }

// other stands for every kind and code that is not known beforehand.
const other = "other"

// The values of labels that this package makes.
const (
	sideBusiness  = "business"
	sideTransport = "transport"

	lookUpFound, lookUpAbsent, lookUpFailed, lookUpCannotTell = "found", "absent", "failed", "cannot_tell"
)

// LaneStates are the states of a lane, in the order of the documentation.
func LaneStates() []string {
	return []string{dispatcher.StateOpen, dispatcher.StatePaused, dispatcher.StateHeld, dispatcher.StateGated, dispatcher.StateBroken}
}

// Catalogue returns all metrics, in the order of the documentation. There is no other.
func Catalogue() []Metric {
	return slices.Concat(work(), waits(), lanesAndWorkers(), admin())
}

func labels(names ...Label) []Label { return names }

func kind() Label { return Label{Name: "kind"} }

func label(name string, values ...string) Label { return Label{Name: name, Values: values} }

// work are the metrics of what a worker does.
func work() []Metric {
	reasons := label("reason", string(outbox.ReasonPermanent), string(outbox.ReasonExhausted), string(outbox.ReasonExpired),
		string(outbox.ReasonAmbiguous), string(outbox.ReasonInvalid))
	return []Metric{
		{Name: "attempts_total", Type: Counter, Scope: PerProcess,
			Labels: labels(kind(), label("outcome", string(outbox.Done), string(outbox.Transient), string(outbox.RateLimited), string(outbox.Permanent), string(outbox.Ambiguous), string(outbox.Hold))),
			Help:   "Calls that may have had the effect, by how they ended. Those that cost no attempt are among them."},
		{Name: "lookups_total", Type: Counter, Scope: PerProcess, Labels: labels(kind(), label("result", lookUpFound, lookUpAbsent, lookUpFailed, lookUpCannotTell)),
			Help: "Questions to the provider about an earlier attempt, by what it answered."},
		{Name: "released_total", Type: Counter, Scope: PerProcess, Labels: labels(kind()),
			Help: "Intents given back without a call: the lane was closed, or the time under the lease had run out."},
		{Name: "settled_total", Type: Counter, Scope: PerProcess, Labels: labels(kind(), label("status", string(outbox.StatusDone), string(outbox.StatusPending), string(outbox.StatusDead))),
			Help: "Decisions written, by the status that follows. Pending: it is tried again."},
		{Name: "dead_letters_total", Type: Counter, Scope: PerProcess, Labels: labels(kind(), reasons), Help: "Dead letters made, by reason."},
		{Name: "failures_total", Type: Counter, Scope: PerProcess, Labels: labels(kind(), Label{Name: "side"}, Label{Name: "code"}), Pairs: sidesAndCodes(),
			Help: "Failures by code. Side business is an answer to the business, such as a declined card. Side transport is trouble that whoever runs this can mend."},
		{Name: "notes_total", Type: Counter, Scope: PerProcess, Labels: labels(kind(), label("code", outbox.CodeWriteBackMissed, outbox.CodeFollowUpRefused, other)),
			Help: "What went wrong beside an outcome that was written: a write_back without a target, a follow-up that was refused."},
		{Name: "provider_replies_total", Type: Counter, Scope: PerProcess,
			Labels: labels(label("provider", "stripe", "sendgrid", "twilio"), label("operation", "send", "lookup", "cancel"), label("status", "2xx", "3xx", "4xx", "429", "5xx", "none")),
			Help:   "HTTP answers of providers by class of their status. None: no answer came."},
		{Name: "attempt_duration_seconds", Type: Histogram, Scope: PerProcess, Labels: labels(kind()), Bounds: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20, 60},
			Help: "How long attempts took, all calls to the provider together."},
		{Name: "queue_delay_seconds", Type: Histogram, Scope: PerProcess, Labels: labels(kind()), Bounds: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800},
			Help: "From due_at to an intent's first call, by the database's clock."},
		{Name: "completion_seconds", Type: Histogram, Scope: PerProcess, Labels: labels(kind()), Bounds: []float64{.025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 86400},
			Help: "From the insert, or from due_at where that is later, to done."},
		{Name: "claims_total", Type: Counter, Scope: PerProcess, Labels: labels(kind()), Help: "Claims made, empty ones included."},
		{Name: "claimed_intents_total", Type: Counter, Scope: PerProcess, Labels: labels(kind()), Help: "Intents claimed."},
		{Name: "claim_errors_total", Type: Counter, Scope: PerProcess, Labels: labels(kind()), Help: "Claims that failed."},
		{Name: "claim_duration_seconds", Type: Histogram, Scope: PerProcess, Labels: labels(kind()), Bounds: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5, 15},
			Help: "How long claims took."},
		{Name: "settle_duration_seconds", Type: Histogram, Scope: PerProcess, Bounds: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5, 15},
			Help: "How long the writing of a batch of decisions took."},
		{Name: "settle_errors_total", Type: Counter, Scope: PerProcess, Help: "Batches of decisions that could not be written, and were tried again."},
		{Name: "lease_lost_total", Type: Counter, Scope: PerProcess, Labels: labels(kind()),
			Help: "Outcomes that were not written because another worker had claimed the intent again."},
	}
}

// sidesAndCodes returns which codes come on which side.
func sidesAndCodes() [][]string {
	var pairs [][]string
	for _, c := range outbox.Codes() {
		var business, transport bool
		for _, class := range c.Classes {
			business = business || class != outbox.Done && class.Business()
			transport = transport || !class.Business()
		}
		if business {
			pairs = append(pairs, []string{sideBusiness, c.Code})
		}
		if transport {
			pairs = append(pairs, []string{sideTransport, c.Code})
		}
	}
	return append(pairs, []string{sideBusiness, other}, []string{sideTransport, other})
}

// waits are the metrics of what stands in the outbox.
func waits() []Metric {
	gauge := func(name, help string) Metric {
		return Metric{Name: name, Type: Gauge, Scope: Deployment, Labels: labels(kind()), Help: help}
	}
	return []Metric{
		gauge("waiting", "Intents that are not finished, counted up to 10000 due and 10000 scheduled ones."),
		gauge("due", "Intents that a claim would take now, counted up to 10000."),
		gauge("scheduled", "Intents whose time is yet to come, counted up to 10000. Those that a worker holds are among them."),
		gauge("count_capped", "Whether a count of the kind stopped at its bound (1), so that there are more."),
		gauge("oldest_due_age_seconds", "How long the oldest due intent has been due; 0 if none is."),
		gauge("oldest_unfinished_age_seconds", "How long users wait: since the oldest unfinished intent was first due, through holds, backoff and doubt; 0 if none waits."),
		gauge("in_doubt", "Unfinished intents of which nobody knows whether the provider acted, counted up to 10000. Workers are on it."),
		gauge("oldest_in_doubt_age_seconds", "How long the oldest of them has been in doubt; 0 if none is."),
		gauge("ambiguous_dead", "Dead letters of reason ambiguous, counted up to 10000. Each needs a person's verdict."),
		gauge("outcomes_unwritten", "Intents whose outcome is recorded while follow-ups and write_back cannot be written, counted up to 10000."),
		gauge("oldest_unwritten_age_seconds", "How long the oldest of them has waited; 0 if none waits."),
		{Name: "foreign_documents", Type: Gauge, Scope: Deployment, Help: "Documents of the collection that have no kind, counted up to 10000. They are no intents, and no worker touches them."},
		{Name: "census_age_seconds", Type: Gauge, Scope: Deployment, Help: "How old the figures of this group are. A census is taken every 15 seconds."},
		{Name: "census_cut", Type: Gauge, Scope: Deployment, Help: "Whether the census could not read all (1): some figures are those of the one before."},
	}
}

// lanesAndWorkers are the metrics of how things stand.
func lanesAndWorkers() []Metric {
	lane := func(name, help string, more ...Label) Metric {
		return Metric{Name: name, Type: Gauge, Scope: PerProcess, Labels: append(labels(kind()), more...), Help: help}
	}
	return []Metric{
		lane("lane_state", "The state of the lane as this worker sees it: 1 for that state, 0 for the others.", label("state", LaneStates()...)),
		lane("lane_state_since_seconds", "For how long this worker has seen the lane in its state."),
		lane("breaker_state", "The state of the lane's breaker: 1 for that state, 0 for the others.", label("state", "closed", "half-open", "open")),
		lane("in_flight", "Intents that this worker holds a lease on."),
		lane("slots", "Calls that this worker may have in flight at once."),
		lane("settle_queue", "Outcomes that wait in this worker to be written."),
		lane("kind_served", "Whether this worker has credentials for the kind (1) or not (0). Intents of a kind that nobody serves stay pending."),
		{Name: "workers", Type: Gauge, Scope: Deployment, Labels: labels(kind()), Help: "Live workers that serve the kind, by the registry."},
		{Name: "database_up", Type: Gauge, Scope: PerProcess, Help: "Whether the database answered this worker's last question (1) or not (0). While it does not, the other figures are the last known ones."},
		{Name: "database_silent_seconds", Type: Gauge, Scope: PerProcess, Help: "Since the database last answered this worker."},
		{Name: "change_stream_up", Type: Gauge, Scope: PerProcess, Help: "0 while the database refuses a change stream that this worker wants: it finds intents by polling. Else 1."},
		{Name: "clock_offset_seconds", Type: Gauge, Scope: PerProcess, Help: "The database's clock minus this machine's. Nothing is decided by this machine's clock."},
		{Name: "build_info", Type: Gauge, Scope: PerProcess, Labels: labels(Label{Name: "version", Example: "v1.2.3"}, Label{Name: "revision", Example: "af1eae6"}, Label{Name: "goversion", Example: "go1.26.8"}),
			Help: "How this outboxd was built, as labels; the value is always 1."},
	}
}

// admin are the metrics of the process of `outboxd admin`.
func admin() []Metric {
	return []Metric{
		{Name: "admin_requests_total", Type: Counter, Scope: Admin, Labels: labels(Label{Name: "route", Example: "/intents/{id}"}, label("status", "2xx", "3xx", "4xx", "5xx")), Help: "Requests to the page and the API."},
		{Name: "admin_request_duration_seconds", Type: Histogram, Scope: Admin, Bounds: []float64{.005, .01, .025, .05, .1, .3, 1, 2, 5}, Help: "How long requests took."},
		{Name: "admin_logins_failed_total", Type: Counter, Scope: Admin, Help: "Logins that were refused."},
		{Name: "admin_reveals_total", Type: Counter, Scope: Admin, Help: "Payloads that were shown unmasked. Each has a record of who and why."},
		{Name: "jobs", Type: Gauge, Scope: Admin, Labels: labels(label("state", "planned", "approved", "running", "paused", "stopped", "done", "failed")), Help: "Bulk jobs by state."},
		{Name: "jobs_stalled", Type: Gauge, Scope: Admin, Help: "Running jobs that made no progress for ten minutes."},
	}
}
