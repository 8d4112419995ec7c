package outbox_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/outboxd/outboxd/outbox"
)

func TestCensusOfAKind(t *testing.T) {
	c := outbox.Census{Kinds: []outbox.KindCensus{{Kind: "sms", Due: outbox.Count{N: 3}}}}
	if got := c.Of("sms").Due.N; got != 3 {
		t.Errorf("due of sms: %d, want 3", got)
	}
	if got, want := c.Of("email"), (outbox.KindCensus{Kind: "email"}); got != want {
		t.Errorf("a kind without intents: %+v, want %+v", got, want)
	}
	sum := outbox.Count{N: 2}.Plus(outbox.Count{N: outbox.CensusCap, Capped: true})
	if want := (outbox.Count{N: outbox.CensusCap + 2, Capped: true}); sum != want {
		t.Errorf("sum %+v, want %+v", sum, want)
	}
}

// Each counter must be added: one that is forgotten would stay at the first worker's figure.
func TestRateCountersAddEachField(t *testing.T) {
	var one, sum outbox.RateCounters
	v := reflect.ValueOf(&one).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Array {
			for j := range f.Len() {
				f.Index(j).SetInt(int64(100 + j))
			}
		} else {
			f.SetInt(int64(1 + i))
		}
	}
	sum.Add(one)
	if sum != one {
		t.Errorf("0 + x is %+v, want %+v", sum, one)
	}
}

func TestRateQuantile(t *testing.T) {
	var r outbox.RateCounters
	if got := r.Quantile(0.5); got != 0 {
		t.Errorf("without attempts: %v, want 0", got)
	}
	for range 90 {
		r.Observe(40 * time.Millisecond)
	}
	for range 10 {
		r.Observe(time.Minute)
	}
	for _, c := range []struct {
		q    float64
		want time.Duration
	}{
		{0.5, 38888888 * time.Nanosecond}, // between 25 and 50 ms, 50 of 90
		{0.9, 50 * time.Millisecond},
		{0.95, 10 * time.Second},
		{2, 10 * time.Second},
	} {
		if got := r.Quantile(c.q); got != c.want {
			t.Errorf("quantile %v: %v, want %v", c.q, got, c.want)
		}
	}
	if got := r.Attempts(); got != 100 {
		t.Errorf("attempts: %d, want 100", got)
	}
}

func TestRatesCountSettlements(t *testing.T) {
	var r outbox.RateCounters
	for _, s := range []outbox.Settlement{
		{Took: time.Millisecond, Decision: outbox.Decision{Status: outbox.StatusDone, Outcome: outbox.Done, Event: outbox.Delivered, Counted: true}},
		{Decision: outbox.Decision{Status: outbox.StatusDone, Outcome: outbox.Done, Event: outbox.Found}},
		{Took: time.Minute, Decision: outbox.Decision{Status: outbox.StatusPending, Outcome: outbox.Transient, Event: outbox.Failed, Counted: true}},
		{Decision: outbox.Decision{Status: outbox.StatusPending, Outcome: outbox.RateLimited, Event: outbox.Failed}},
		{Decision: outbox.Decision{Status: outbox.StatusPending, Event: outbox.Unsent}},
		{Decision: outbox.Decision{Status: outbox.StatusPending, Event: outbox.Absent}},
		{Decision: outbox.Decision{Status: outbox.StatusDead, Reason: outbox.ReasonPermanent, Outcome: outbox.Permanent, Event: outbox.Failed, Counted: true}},
		{Decision: outbox.Decision{Status: outbox.StatusDead, Reason: outbox.ReasonAmbiguous, Outcome: outbox.Ambiguous, Event: outbox.Failed, Counted: true}},
	} {
		r.Count(s)
	}
	want := outbox.RateCounters{Done: 2, Dead: 2, Ambiguous: 1, Retried: 1, Released: 1, LookUps: 2, Business: 1, Transport: 2, Limited: 1,
		Took: [12]int64{0: 4, 11: 1}}
	if r != want {
		t.Errorf("counted %+v, want %+v", r, want)
	}
}
