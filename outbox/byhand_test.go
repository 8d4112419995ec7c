package outbox

import (
	"errors"
	"maps"
	"strings"
	"testing"
	"time"
)

// The documents of these tests are what a worker wrote, and then what people made of it.
var (
	handNow   = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	handDied  = handNow.Add(-time.Hour)
	handSMS   = Policy{Retry: RetryPolicy{MaxAttempts: 12}, OnAmbiguous: Park}
	handEmail = Policy{Retry: RetryPolicy{MaxAttempts: 12}, OnAmbiguous: Reconcile}
	handCard  = Policy{Retry: RetryPolicy{MaxAttempts: 12}, OnAmbiguous: Retry, AsksFirst: true}
)

type edits map[string]any

// handDoc returns an intent's document with fields changed; nil removes one.
func handDoc(kind string, changes ...edits) *Intent {
	payload := map[string]map[string]any{
		KindSMS:    {"to": "+4915112345678", "from": "+15550001111", "body": "x"},
		KindEmail:  {"to": "a@example.com", "from": "b@example.com", "subject": "x", "text": "x"},
		KindCharge: {"amount": int64(4200), "currency": "eur", "customer": "cus_1", "payment_method": "pm_1"},
	}[kind]
	doc := map[string]any{"_id": "a", "kind": kind, "payload": payload}
	for _, change := range changes {
		maps.Copy(doc, change)
	}
	maps.DeleteFunc(doc, func(_ string, v any) bool { return v == nil })
	return Parse(doc, Rules{})
}

func attempt(n int64, outcome Class, code string) map[string]any {
	return map[string]any{"attempt": n, "at": handDied.Add(time.Duration(n-10) * time.Minute), "ms": int64(5), "outcome": string(outcome), "code": code, "worker": "w"}
}

func event(what What, fields edits) map[string]any {
	doc := map[string]any{"what": string(what), "at": handDied}
	maps.Copy(doc, fields)
	return doc
}

func history(records ...any) edits { return edits{"history": records} }

// died is a dead letter as a worker leaves it after three attempts, of which the last one ended with the class and
// code.
func died(reason DeadReason, class Class, code string) edits {
	return edits{"status": "dead", "dead_reason": string(reason), "dead_at": handDied, "attempts": int64(3), "first_attempt_at": handDied.Add(-time.Hour),
		"last_error": map[string]any{"class": string(class), "code": code, "at": handDied},
		"history":    []any{attempt(1, Transient, CodeNotSent), attempt(2, Transient, CodeNotSent), attempt(3, class, code)}}
}

// parked is a dead letter of which nobody knows whether it was sent.
func parked() edits {
	doc := died(ReasonAmbiguous, Ambiguous, CodeNoAnswer)
	doc["ambiguous_at"] = handDied
	return doc
}

// laundered takes every trace of the doubt out of a parked dead letter but the given ones.
func laundered(keep ...string) edits {
	doc := parked()
	clean := edits{"ambiguous_at": nil, "dead_reason": "exhausted", "last_error": map[string]any{"class": "transient", "code": CodeNotSent, "at": handDied},
		"history": []any{attempt(1, Transient, CodeNotSent), attempt(2, Transient, CodeNotSent), attempt(3, Transient, CodeNotSent)}}
	for _, field := range keep {
		delete(clean, field)
	}
	maps.Copy(doc, clean)
	return doc
}

// notSent is a person's answer, given some time after the death.
func notSent(after time.Duration) edits {
	return edits{"resolved": map[string]any{"by": "ada", "why": "asked", "verdict": "not_sent", "at": handDied.Add(after)}}
}

// check compares an error with what the refusal must say; empty: none.
func checkRefusal(t *testing.T, err error, want string) {
	t.Helper()
	refusal, is := errors.AsType[*Refusal](err)
	if (want == "") != (err == nil) || err != nil && (!is || !strings.Contains(refusal.Error(), want)) {
		t.Errorf("refusal %v, want one about %q", err, want)
	}
}
