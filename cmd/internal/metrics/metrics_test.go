package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outboxd/outboxd/cmd/internal/metrics"
	"github.com/outboxd/outboxd/dispatcher"
	"github.com/outboxd/outboxd/outbox"
)

var kinds = []string{"charge", "email", "sms"}

// database tells what it is told to, and may be away or frozen.
type database struct {
	census  outbox.Census
	workers []outbox.Worker
	err     error
	frozen  bool
	asked   int
}

func (d *database) Census(ctx context.Context) (outbox.Census, error) {
	d.asked++
	if d.frozen {
		<-ctx.Done()
		return outbox.Census{}, ctx.Err()
	}
	return d.census, d.err
}

func (d *database) Workers(context.Context) ([]outbox.Worker, error) { return d.workers, d.err }

func (d *database) Now() time.Time { return time.Now().Add(time.Minute) }

// status is lanes that are in given states.
type status []dispatcher.LaneStatus

func (s *status) Status() []dispatcher.LaneStatus { return *s }

// text scrapes the metrics in the format that the header asks for.
func text(t *testing.T, m *metrics.Metrics, accept string) string {
	t.Helper()
	rec := httptest.NewRecorder()
	req := httptest.NewRequest("GET", "/metrics", nil)
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	m.Handler().ServeHTTP(rec, req)
	if rec.Code != 200 {
		t.Fatalf("/metrics: %d %s", rec.Code, rec.Body)
	}
	return rec.Body.String()
}

// page returns the lines that are no comment.
func page(t *testing.T, m *metrics.Metrics) []string {
	t.Helper()
	var lines []string
	for line := range strings.SplitSeq(text(t, m, ""), "\n") {
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

func done(d outbox.Decision) outbox.Settlement {
	return outbox.Settlement{Intent: &outbox.Intent{}, Decision: d, Took: 30 * time.Millisecond}
}

func TestEverythingIsCountedUnderBoundedLabels(t *testing.T) {
	m := metrics.New(metrics.Config{Kinds: kinds, Unserved: []string{"sms"}, Version: "v1", Revision: "abc"})
	m.ShowLanes(&status{{Kind: "charge", State: dispatcher.StateGated, Breaker: "closed", InFlight: 3, Slots: 32, Settling: 7}})
	m.Claimed("charge", 5, time.Millisecond, nil)
	m.Claimed("charge", 0, time.Millisecond, errors.New("away"))
	m.Settled("charge", done(outbox.Decision{Status: outbox.StatusDone, Outcome: outbox.Done, Event: outbox.Delivered, Counted: true}))
	m.Settled("charge", done(outbox.Decision{Status: outbox.StatusDead, Reason: outbox.ReasonPermanent, Outcome: outbox.Permanent, Event: outbox.Failed,
		Failure: &outbox.Failure{Code: outbox.CodeDeclined}}))
	m.Settled("charge", done(outbox.Decision{Status: outbox.StatusPending, Outcome: outbox.Transient, Event: outbox.Failed, Failure: &outbox.Failure{Code: outbox.CodeUnavailable}}))
	m.Settled("made up by a producer", done(outbox.Decision{Status: outbox.StatusDead, Reason: outbox.ReasonExpired, Outcome: outbox.Expired, Event: outbox.Lapsed,
		Failure: &outbox.Failure{Code: "made up by a provider"}}))
	m.Settled("email", done(outbox.Decision{Status: outbox.StatusPending, Event: outbox.Absent}))
	m.Settled("email", done(outbox.Decision{Status: outbox.StatusPending, Event: outbox.LookUpFailed, Seen: &outbox.Failure{Code: outbox.CodeCannotTell}}))
	m.Settled("email", done(outbox.Decision{Status: outbox.StatusPending, Event: outbox.Unsent}))
	m.LeaseLost("email")
	m.Noted("charge", outbox.CodeWriteBackMissed)
	m.Noted("charge", "made up")
	m.Wrote(5, time.Millisecond, errors.New("away"))
	m.Replied("stripe", "send", 402)
	m.Replied("stripe", "send", 429)
	m.Replied("stripe", "send", 0)
	m.StreamUp(false)

	expect(t, page(t, m),
		`outboxd_claims_total{kind="charge"} 2`,
		`outboxd_claimed_intents_total{kind="charge"} 5`,
		`outboxd_claim_errors_total{kind="charge"} 1`,
		`outboxd_claim_errors_total{kind="sms"} 0`,
		`outboxd_claim_duration_seconds_count{kind="charge"} 2`,
		`outboxd_attempts_total{kind="charge",outcome="done"} 1`,
		`outboxd_attempts_total{kind="charge",outcome="permanent"} 1`,
		`outboxd_attempts_total{kind="sms",outcome="hold"} 0`,
		`outboxd_settled_total{kind="charge",status="done"} 1`,
		`outboxd_settled_total{kind="other",status="dead"} 1`,
		`outboxd_dead_letters_total{kind="charge",reason="permanent"} 1`,
		`outboxd_dead_letters_total{kind="other",reason="expired"} 1`,
		`outboxd_dead_letters_total{kind="email",reason="ambiguous"} 0`,
		`outboxd_failures_total{code="declined",kind="charge",side="business"} 1`,
		`outboxd_failures_total{code="unavailable",kind="charge",side="transport"} 1`,
		`outboxd_failures_total{code="other",kind="other",side="business"} 1`,
		`outboxd_lookups_total{kind="email",result="absent"} 1`,
		`outboxd_lookups_total{kind="email",result="cannot_tell"} 1`,
		`outboxd_released_total{kind="email"} 1`,
		`outboxd_attempt_duration_seconds_count{kind="charge"} 3`,
		`outboxd_attempt_duration_seconds_count{kind="email"} 0`,
		`outboxd_settle_duration_seconds_count 1`,
		`outboxd_settle_errors_total 1`,
		`outboxd_lease_lost_total{kind="email"} 1`,
		`outboxd_notes_total{code="write_back_missed",kind="charge"} 1`,
		`outboxd_notes_total{code="other",kind="charge"} 1`,
		`outboxd_provider_replies_total{operation="send",provider="stripe",status="4xx"} 1`,
		`outboxd_provider_replies_total{operation="send",provider="stripe",status="429"} 1`,
		`outboxd_provider_replies_total{operation="send",provider="stripe",status="none"} 1`,
		`outboxd_provider_replies_total{operation="lookup",provider="twilio",status="5xx"} 0`,
		`outboxd_lane_state{kind="charge",state="gated"} 1`,
		`outboxd_lane_state{kind="charge",state="open"} 0`,
		`outboxd_lane_state{kind="sms",state="open"} 0`,
		`outboxd_breaker_state{kind="charge",state="closed"} 1`,
		`outboxd_in_flight{kind="charge"} 3`,
		`outboxd_slots{kind="charge"} 32`,
		`outboxd_settle_queue{kind="charge"} 7`,
		`outboxd_kind_served{kind="charge"} 1`,
		`outboxd_kind_served{kind="sms"} 0`,
		`outboxd_change_stream_up 0`,
		`outboxd_ambiguous_dead{kind="sms"} 0`,
	)
	for _, line := range page(t, m) {
		if strings.Contains(line, "made up") {
			t.Errorf("a document made a series: %s", line)
		}
		if !strings.HasPrefix(line, "outboxd_") && !strings.HasPrefix(line, "go_") && !strings.HasPrefix(line, "process_") {
			t.Errorf("a strange name: %s", line)
		}
	}
}

// What appears with its first event cannot be alerted on: increase() sees no step from nothing to 1.
func TestEachSeriesIsThereFromTheStart(t *testing.T) {
	m := metrics.New(metrics.Config{Kinds: kinds})
	m.ShowLanes(&status{})
	names := func() map[string]bool {
		all := make(map[string]bool)
		for _, line := range page(t, m) {
			if strings.HasPrefix(line, "outboxd_") {
				all[line[:strings.LastIndex(line, " ")]] = true
			}
		}
		return all
	}
	before := names()
	for _, kind := range append(kinds, "fax") {
		for _, status := range []outbox.Status{outbox.StatusDone, outbox.StatusPending, outbox.StatusDead} {
			for _, reason := range []outbox.DeadReason{outbox.ReasonPermanent, outbox.ReasonExhausted, outbox.ReasonExpired, outbox.ReasonAmbiguous, outbox.ReasonInvalid} {
				for event := outbox.Delivered; event <= outbox.Recorded; event++ {
					m.Settled(kind, done(outbox.Decision{Status: status, Reason: reason, Event: event}))
				}
			}
		}
		for _, c := range outbox.Codes() {
			for _, class := range c.Classes {
				m.Settled(kind, done(outbox.Decision{Status: outbox.StatusPending, Outcome: class, Event: outbox.Failed, Failure: &outbox.Failure{Code: c.Code}}))
			}
			m.Noted(kind, c.Code)
		}
		m.Claimed(kind, 1, time.Second, errors.New("away"))
		m.LeaseLost(kind)
		m.Called(&outbox.Intent{Kind: kind, FirstDueAt: time.Now()}, outbox.Send, time.Now())
	}
	for _, provider := range []string{"stripe", "sendgrid", "twilio"} {
		for _, operation := range []string{"send", "lookup", "cancel"} {
			for _, status := range []int{0, 200, 302, 404, 429, 503} {
				m.Replied(provider, operation, status)
			}
		}
	}
	m.Wrote(1, time.Second, errors.New("away"))
	after := names()
	for name := range after {
		if !before[name] {
			t.Errorf("came with its first event: %s", name)
		}
	}
	if len(after) > 2500 {
		t.Errorf("%d series of one worker", len(after))
	}
	for _, row := range metrics.Catalogue() {
		there := slices.ContainsFunc(slices.Collect(maps.Keys(after)), func(name string) bool { return strings.HasPrefix(name, row.FullName()) })
		if there == (row.Scope == metrics.Admin) {
			t.Errorf("%s of scope %s is on a worker's page: %t", row.FullName(), row.Scope, there)
		}
	}
}

// A database that is frozen takes neither the page nor its figures with it: what waited still waits.
func TestAScrapeOutlivesTheDatabase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now().Add(time.Minute) // the database's clock is ahead
		db := &database{workers: []outbox.Worker{{Kinds: []string{"charge", "sms"}}, {Kinds: []string{"charge"}}}, census: outbox.Census{At: now, Kinds: []outbox.KindCensus{
			{Kind: "charge", Due: outbox.Count{N: 5}, Waiting: outbox.Count{N: 7, Capped: true}, OldestDue: now.Add(-10 * time.Second), OldestUnfinished: now.Add(-time.Minute)},
			{Kind: "fax", Due: outbox.Count{N: 1}, OldestDue: now.Add(-time.Hour)}, {Kind: "telex", Due: outbox.Count{N: 2}, OldestDue: now.Add(-2 * time.Hour)},
		}, Foreign: outbox.Count{N: 3}}}
		m := metrics.New(metrics.Config{Kinds: kinds})
		expect(t, page(t, m), `outboxd_due{kind="charge"} 0`, "outboxd_database_up 0")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var told []string
		go m.Watch(ctx, db, func(up bool, silent time.Duration) { told = append(told, fmt.Sprint(up, silent)) })
		synctest.Wait()
		expect(t, page(t, m), "outboxd_database_up 1", `outboxd_due{kind="charge"} 5`, `outboxd_waiting{kind="charge"} 7`, `outboxd_count_capped{kind="charge"} 1`,
			`outboxd_oldest_due_age_seconds{kind="charge"} 10`, `outboxd_oldest_unfinished_age_seconds{kind="charge"} 60`,
			`outboxd_due{kind="other"} 3`, `outboxd_oldest_due_age_seconds{kind="other"} 7200`, `outboxd_due{kind="email"} 0`,
			`outboxd_workers{kind="charge"} 2`, `outboxd_workers{kind="email"} 0`, "outboxd_foreign_documents 3", "outboxd_clock_offset_seconds 60")
		asked := db.asked
		_ = page(t, m)
		if db.asked != asked {
			t.Error("a scrape asked the database")
		}
		db.frozen = true
		began := time.Now()
		time.Sleep(20 * time.Second) // of the bubble
		scraped := time.Now()
		expect(t, page(t, m), "outboxd_database_up 0", "outboxd_database_silent_seconds 20", `outboxd_oldest_unfinished_age_seconds{kind="charge"} 80`, `outboxd_due{kind="charge"} 5`)
		if time.Since(scraped) > 0 {
			t.Errorf("the page took %v", time.Since(scraped))
		}
		db.frozen, db.census = false, outbox.Census{At: now.Add(time.Since(began))}
		<-time.After(5 * time.Second)
		expect(t, page(t, m), "outboxd_database_up 1", `outboxd_oldest_unfinished_age_seconds{kind="charge"} 0`)
		synctest.Wait()
		if want := []string{"false 5s", "true 23s"}; !slices.Equal(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
	})
}

func TestHowLongALaneIsInItsState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, lanes := metrics.New(metrics.Config{Kinds: kinds}), &status{{Kind: "sms", State: dispatcher.StateOpen}}
		m.ShowLanes(lanes)
		<-time.After(time.Minute)
		expect(t, page(t, m), `outboxd_lane_state_since_seconds{kind="sms"} 60`)
		*lanes = status{{Kind: "sms", State: dispatcher.StateHeld}}
		expect(t, page(t, m), `outboxd_lane_state_since_seconds{kind="sms"} 0`, `outboxd_lane_state{kind="sms",state="held"} 1`)
		<-time.After(30 * time.Second)
		expect(t, page(t, m), `outboxd_lane_state_since_seconds{kind="sms"} 30`)
	})
}

func TestHowLongAnIntentWaited(t *testing.T) {
	m := metrics.New(metrics.Config{Kinds: kinds})
	due := time.Now()
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	in := &outbox.Intent{Kind: "sms", FirstDueAt: due, Attempts: 1, Trace: outbox.Trace{Parent: "00-" + trace + "-00f067aa0ba902b7-01"},
		Lease: outbox.Lease{At: due.Add(2 * time.Second)}, Document: map[string]any{"created_at": due.Add(-time.Hour)}}
	m.Called(in, outbox.Send, due.Add(2*time.Second))
	again := *in
	again.Attempts, again.History = 2, []outbox.Record{{}}
	m.Called(&again, outbox.Send, due.Add(time.Hour))
	m.Called(in, outbox.LookUp, due.Add(time.Hour))
	m.Settled("sms", outbox.Settlement{Intent: in, Took: time.Second, Decision: outbox.Decision{Status: outbox.StatusDone, Outcome: outbox.Done, Event: outbox.Delivered}})
	expect(t, page(t, m), `outboxd_queue_delay_seconds_count{kind="sms"} 1`, `outboxd_queue_delay_seconds_sum{kind="sms"} 2`,
		`outboxd_completion_seconds_sum{kind="sms"} 3`) // from due_at: the hour before was wanted
	open := text(t, m, "application/openmetrics-text; version=1.0.0")
	if !strings.Contains(open, `# {trace_id="`+trace+`"} 2.0`) || !strings.HasSuffix(open, "# EOF\n") {
		t.Errorf("no exemplar:\n%s", open)
	}
	proto := text(t, m, "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited")
	if !strings.Contains(proto, "outboxd_queue_delay_seconds") {
		t.Error("no protobuf format, and so no native histograms")
	}
}

func TestAdminsMetrics(t *testing.T) {
	m := metrics.NewAdmin()
	m.Requested("/intents/{id}", 200, time.Millisecond)
	m.Requested("/intents/{id}", 99, time.Millisecond)
	m.LoginFailed()
	m.Revealed()
	m.Jobs(map[string]int{"running": 2, "strange": 1}, 1)
	rec := httptest.NewRecorder()
	m.Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	expect(t, strings.Split(rec.Body.String(), "\n"), `outboxd_admin_requests_total{route="/intents/{id}",status="2xx"} 2`, "outboxd_admin_logins_failed_total 1",
		"outboxd_admin_reveals_total 1", `outboxd_jobs{state="running"} 2`, `outboxd_jobs{state="failed"} 0`, "outboxd_jobs_stalled 1", "outboxd_admin_request_duration_seconds_count 2")
}
