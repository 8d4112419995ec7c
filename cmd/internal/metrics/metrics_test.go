package metrics_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outboxd/outboxd/cmd/internal/metrics"
	"github.com/outboxd/outboxd/dispatcher"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store"
)

var kinds = []string{"charge", "email", "sms"}

// waiting is a queue that answers what it is told to.
type waiting struct {
	ages  map[string]time.Duration
	waits map[string]store.Waiting
	err   error
	asked int
}

func (w *waiting) Oldest(ctx context.Context) (map[string]time.Duration, error) {
	w.asked++
	if _, bounded := ctx.Deadline(); !bounded {
		return nil, errors.New("the question is not bounded")
	}
	return w.ages, w.err
}

func (w *waiting) Waiting(ctx context.Context) (map[string]store.Waiting, error) {
	if _, bounded := ctx.Deadline(); !bounded {
		return nil, errors.New("the question is not bounded")
	}
	return w.waits, w.err
}

// status is lanes that are in given states.
type status []dispatcher.LaneStatus

func (s status) Status() []dispatcher.LaneStatus { return s }

// page scrapes the metrics and returns the lines that are no comment.
func page(t *testing.T, m *metrics.Metrics) []string {
	t.Helper()
	rec := httptest.NewRecorder()
	m.Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	if rec.Code != 200 {
		t.Fatalf("/metrics: %d %s", rec.Code, rec.Body)
	}
	var lines []string
	for line := range strings.SplitSeq(rec.Body.String(), "\n") {
		if line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return lines
}

func expect(t *testing.T, lines []string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !slices.Contains(lines, w) {
			t.Errorf("missing: %s", w)
		}
	}
	if t.Failed() {
		t.Log(strings.Join(lines, "\n"))
	}
}

func TestEverythingIsCountedUnderBoundedLabels(t *testing.T) {
	m := metrics.New(metrics.Config{Kinds: kinds, Unserved: []string{"sms"}, Queue: &waiting{ages: map[string]time.Duration{"charge": 2500 * time.Millisecond, "fax": time.Second, "telex": 3 * time.Second},
		waits: map[string]store.Waiting{"sms": {N: 3, Age: time.Minute}, "fax": {N: 1, Age: time.Second}, "telex": {N: 2, Age: time.Hour}}}, Version: "v1", Revision: "abc"})
	m.ShowLanes(status{{Kind: "charge", State: dispatcher.StateGated, Breaker: "closed", InFlight: 3}})

	m.Claimed("charge", 5, time.Millisecond, nil)
	m.Claimed("charge", 0, time.Millisecond, errors.New("away"))
	m.Settled("charge", outbox.Settlement{Decision: outbox.Decision{Status: outbox.StatusDone, Outcome: outbox.Done, Counted: true}, Took: 30 * time.Millisecond})
	m.Settled("charge", outbox.Settlement{Decision: outbox.Decision{Status: outbox.StatusDead, Reason: outbox.ReasonPermanent, Outcome: outbox.Permanent, Counted: true,
		Failure: &outbox.Failure{Code: outbox.CodeDeclined}}, Took: time.Millisecond})
	m.Settled("made up by a producer", outbox.Settlement{Decision: outbox.Decision{Status: outbox.StatusDead, Outcome: outbox.Expired, Failure: &outbox.Failure{Code: "made up by a provider"}}, Took: 0})
	m.LeaseLost("email")
	m.Noted("charge", outbox.CodeWriteBackMissed)

	expect(t, page(t, m),
		`outboxd_claims_total{kind="charge"} 2`,
		`outboxd_claimed_intents_total{kind="charge"} 5`,
		`outboxd_claim_errors_total{kind="charge"} 1`,
		`outboxd_claim_errors_total{kind="sms"} 0`,
		`outboxd_claim_duration_seconds_count{kind="charge"} 2`,
		`outboxd_settled_total{code="",kind="charge",outcome="done",reason="",status="done"} 1`,
		`outboxd_settled_total{code="declined",kind="charge",outcome="permanent",reason="permanent",status="dead"} 1`,
		`outboxd_settled_total{code="other",kind="other",outcome="expired",reason="",status="dead"} 1`,
		`outboxd_attempt_duration_seconds_count{kind="charge"} 2`,
		`outboxd_lease_lost_total{kind="email"} 1`,
		`outboxd_notes_total{code="write_back_missed",kind="charge"} 1`,
		`outboxd_consequences_waiting{kind="charge"} 0`,
		`outboxd_consequences_waiting{kind="sms"} 3`,
		`outboxd_consequences_waiting{kind="other"} 3`,
		`outboxd_consequences_waiting_age_seconds{kind="charge"} 0`,
		`outboxd_consequences_waiting_age_seconds{kind="sms"} 60`,
		`outboxd_consequences_waiting_age_seconds{kind="other"} 3600`,
		`outboxd_lane_state{kind="charge",state="gated"} 1`,
		`outboxd_lane_state{kind="charge",state="open"} 0`,
		`outboxd_breaker_state{kind="charge",state="closed"} 1`,
		`outboxd_breaker_state{kind="charge",state="half-open"} 0`,
		`outboxd_in_flight{kind="charge"} 3`,
		`outboxd_kind_served{kind="charge"} 1`,
		`outboxd_kind_served{kind="sms"} 0`,
		`outboxd_oldest_due_age_seconds{kind="charge"} 2.5`,
		`outboxd_oldest_due_age_seconds{kind="email"} 0`,
		`outboxd_oldest_due_age_seconds{kind="other"} 3`,
		`outboxd_queue_up 1`,
	)
	for _, line := range page(t, m) {
		if strings.Contains(line, "made up") || strings.Contains(line, "fax") {
			t.Errorf("a document made a series: %s", line)
		}
		if !strings.HasPrefix(line, "outboxd_") && !strings.HasPrefix(line, "go_") && !strings.HasPrefix(line, "process_") {
			t.Errorf("a strange name: %s", line)
		}
	}
}

// A database that is away must not take the page with it, nor be asked by each scrape.
func TestAScrapeOutlivesTheDatabase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &waiting{err: errors.New("away")}
		m := metrics.New(metrics.Config{Kinds: kinds, Queue: q})
		expect(t, page(t, m), "outboxd_queue_up 0", `outboxd_claims_total{kind="charge"} 0`)
		for _, line := range page(t, m) {
			if strings.HasPrefix(line, "outboxd_oldest_due_age_seconds") {
				t.Errorf("an age that nobody knows: %s", line)
			}
		}
		if q.asked != 1 {
			t.Errorf("two scrapes in a moment asked the database %d times", q.asked)
		}
		q.err, q.ages = nil, map[string]time.Duration{"sms": time.Minute}
		<-time.After(5 * time.Second) // of the bubble
		expect(t, page(t, m), "outboxd_queue_up 1", `outboxd_oldest_due_age_seconds{kind="sms"} 60`)
	})
}

// Documents that are no intents are counted at most once in a while; an unanswered question leaves the series out.
func TestForeignDocumentsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		var err error
		m := metrics.New(metrics.Config{Kinds: kinds, Queue: &waiting{}, Foreign: func(ctx context.Context) (int64, error) {
			asked++
			if _, bounded := ctx.Deadline(); !bounded {
				return 0, errors.New("the question is not bounded")
			}
			return int64(asked), err
		}})
		for range 3 {
			expect(t, page(t, m), "outboxd_foreign_documents 1")
		}
		<-time.After(5 * time.Second)
		err = errors.New("the database is away")
		if lines := page(t, m); slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "outboxd_foreign_documents") }) {
			t.Errorf("a count without an answer: %q", lines)
		}
		<-time.After(5 * time.Second)
		err = nil
		expect(t, page(t, m), "outboxd_foreign_documents 3")
		if asked != 3 {
			t.Errorf("asked %d times, want 3", asked)
		}
	})
}
