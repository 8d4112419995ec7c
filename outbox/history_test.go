package outbox

import (
	"fmt"
	"testing"
	"time"
)

// History keeps the last twenty attempts and the last twenty others, in their order, and counts what it drops.
func TestHistoryIsBounded(t *testing.T) {
	in := &Intent{Lease: Lease{Token: "t", Owner: "w", At: time.Unix(1e9, 0)}, Document: map[string]any{"dropped": int64(2)}}
	var stored []any
	for n := range 25 {
		in.History = append(in.History, Record{What: WhatAttempt, Attempt: n + 1, Outcome: Transient}, Record{What: WhatRetry, By: fmt.Sprint(n)})
		stored = append(stored, nil, nil)
	}
	in.Document["history"] = stored
	s := Settlement{Intent: in, Decision: Decision{Status: StatusDone, Attempts: 26, Counted: true, Outcome: Done, Event: Delivered, Receipt: &Receipt{ID: "r"}}}
	history, dropped := s.History()
	attempts, others, last := 0, 0, 0
	for _, r := range history {
		if !r.isAttempt() {
			others++
			continue
		}
		if attempts++; r.Attempt <= last {
			t.Errorf("attempt %d stands after %d", r.Attempt, last)
		}
		last = r.Attempt
	}
	if attempts != MaxHistory || others != MaxHistory || last != 26 || dropped != 2+51-40 {
		t.Errorf("%d attempts up to %d, %d others, %d dropped", attempts, last, others, dropped)
	}
	if len(in.History) != 50 {
		t.Error("the intent itself was changed")
	}
}

// A look-up whose outcome differs in anything is a record of its own.
func TestLookUpsAreFoldedOnlyIfTheyAreAlike(t *testing.T) {
	like := Record{What: WhatLookUp, At: time.Unix(1, 0), Outcome: Ambiguous, Code: "a", ProviderCode: "b", HTTPStatus: 500, Ref: "c", RequestID: "1", Worker: "w"}
	for name, change := range map[string]func(*Record){
		"outcome": func(r *Record) { r.Outcome = Done }, "code": func(r *Record) { r.Code = "x" }, "provider_code": func(r *Record) { r.ProviderCode = "x" },
		"http_status": func(r *Record) { r.HTTPStatus = 503 }, "ref": func(r *Record) { r.Ref = "x" }, "what": func(r *Record) { r.What = WhatAttempt },
	} {
		next := like
		if change(&next); like.sameAs(next) {
			t.Errorf("look-ups with another %s are folded", name)
		}
	}
	next := like
	next.At, next.RequestID, next.Worker = time.Unix(9, 0), "2", "other"
	if !like.sameAs(next) {
		t.Error("look-ups that learned the same are not folded")
	}
	folded := like.folded(next).folded(next)
	if folded.N != 3 || !folded.First.Equal(like.At) || !folded.Last.Equal(next.At) || folded.RequestID != "2" {
		t.Errorf("folded to %+v", folded)
	}
}

// What waits is tried again soon for five minutes, and at most every half minute after that, for however long.
func TestBackoffOfWhatWaits(t *testing.T) {
	began := time.Unix(1e9, 0)
	for _, c := range []struct {
		tries       int
		age         time.Duration
		least, most time.Duration
	}{
		{0, 0, 50 * time.Millisecond, 50 * time.Millisecond},
		{1, 50 * time.Millisecond, 100 * time.Millisecond, 100 * time.Millisecond},
		{4, time.Second, 800 * time.Millisecond, 800 * time.Millisecond},
		{40, 30 * time.Second, time.Second, time.Second},
		{300, 299 * time.Second, time.Second, time.Second},
		{310, 400 * time.Second, 10 * time.Second, 10 * time.Second},
		{5000, 72 * time.Hour, 30 * time.Second, 30 * time.Second},
	} {
		in := &Intent{}
		if c.tries > 0 {
			in.Outcome = &Outcome{Tries: c.tries, At: began}
		}
		if got := (Settlement{Intent: in}).Backoff(began.Add(c.age)); got < c.least || got > c.most {
			t.Errorf("after %d tries in %v it waits %v, want %v to %v", c.tries, c.age, got, c.least, c.most)
		}
	}
}

// Deaths are counted by what a person's retries left: the counter, or the history of those who did not count.
func TestDeathsAreCounted(t *testing.T) {
	for _, c := range []struct {
		doc  map[string]any
		want int
	}{
		{map[string]any{}, 1},
		{map[string]any{"retried": map[string]any{"n": int64(2)}}, 3},
		{map[string]any{"retried": map[string]any{"by": "ann"}, "history": []any{map[string]any{"what": "retry"}, map[string]any{"attempt": int64(1)}}}, 2},
		{map[string]any{"retried": map[string]any{"n": 3.0}, "history": []any{map[string]any{"what": "retry"}}}, 4},
	} {
		dead := Settlement{Intent: Parse(c.doc, Rules{}), Decision: Decision{Status: StatusDead}}
		if got := dead.Number(); got != c.want {
			t.Errorf("%v dies for the %d. time, want %d", c.doc, got, c.want)
		}
	}
}
