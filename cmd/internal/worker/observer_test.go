package worker

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/outboxd/outboxd/cmd/internal/metrics"
	"github.com/outboxd/outboxd/outbox"
)

// BenchmarkWatching measures what counting one intent costs: its call, its settlement, and its part of a claim and of a
// batch of a hundred.
func BenchmarkWatching(b *testing.B) {
	kinds := []string{"charge", "email", "sms"}
	counts := metrics.New(metrics.Config{Kinds: kinds})
	watching := observers{counts, claims{ready: newReadiness()}, &rates{now: time.Now, kinds: kinds}}
	due := time.Now()
	in := &outbox.Intent{ID: outbox.NewStringID("a"), Kind: "sms", Attempts: 1, FirstDueAt: due, Lease: outbox.Lease{At: due.Add(time.Millisecond)}, Document: map[string]any{}}
	s := outbox.Settlement{Intent: in, Took: 40 * time.Millisecond, Decision: outbox.Decision{Status: outbox.StatusDone, Outcome: outbox.Done, Event: outbox.Delivered, Counted: true}}
	for _, c := range []struct {
		name  string
		trace outbox.Trace
	}{{"plain", outbox.Trace{}}, {"traced", outbox.Trace{Parent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}}} {
		b.Run(c.name, func(b *testing.B) {
			in.Trace = c.trace
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				if n%100 == 0 {
					watching.Claimed("sms", 100, time.Millisecond, nil)
					watching.Wrote(100, time.Millisecond, nil)
				}
				watching.Called(in, outbox.Send, due)
				watching.Settled("sms", s)
			}
		})
	}
}

// What is counted in a minute goes into that minute, and what the worker knows nothing of into one kind.
func TestRatesKeepMinutesApart(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 59, 0, time.UTC)
	r := &rates{now: func() time.Time { return now }, kinds: []string{"sms"}}
	done := outbox.Settlement{Decision: outbox.Decision{Status: outbox.StatusDone}}
	r.Settled("sms", done)
	now = now.Add(time.Second)
	r.Settled("sms", done)
	r.Settled("made up", done)
	r.Claimed("sms", 3, 0, nil)
	r.Claimed("sms", 0, 0, nil)
	r.LeaseLost("sms")
	if len(r.minutes) != 3 {
		t.Fatalf("%+v", r.minutes)
	}
	for i, want := range []outbox.RateMinute{
		{Minute: now.Add(-time.Minute), Kind: "sms", RateCounters: outbox.RateCounters{Done: 1}},
		{Minute: now, Kind: "sms", RateCounters: outbox.RateCounters{Done: 1, Claimed: 3, LeaseLost: 1}},
		{Minute: now, Kind: "other", RateCounters: outbox.RateCounters{Done: 1}},
	} {
		if got := r.minutes[i]; got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

func TestOperationsOfRequests(t *testing.T) {
	for _, c := range []struct{ method, path, want string }{
		{"POST", "/v1/payment_intents", "send"}, {"POST", "/v1/payment_intents/pi_1/confirm", "send"}, {"POST", "/v1/payment_intents/pi_1/cancel", "cancel"},
		{"GET", "/v1/payment_intents/pi_1", "lookup"}, {"POST", "/v3/mail/send", "send"}, {"GET", "/v3/messages", "lookup"},
		{"POST", "/2010-04-01/Accounts/AC1/Messages.json", "send"}, {"GET", "/2010-04-01/Accounts/AC1/Messages.json", "lookup"},
	} {
		if got := operation(httptest.NewRequest(c.method, c.path, nil)); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.method, c.path, got, c.want)
		}
	}
}
