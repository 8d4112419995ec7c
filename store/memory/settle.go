package memory

import (
	"context"
	"fmt"
	"time"

	"github.com/outboxd/outboxd/outbox"
)

// Settle writes what was decided about claimed intents, each only if its claim's token still holds, with its
// consequences.
func (s *Store) Settle(ctx context.Context, batch []outbox.Settlement) ([]outbox.Settled, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("settle %d intents: %w", len(batch), context.Cause(ctx))
	}
	now := s.Now()
	answers := make([]outbox.Settled, len(batch))
	for i, settlement := range batch {
		answers[i] = s.settle(settlement, now)
	}
	return answers, nil
}

func (s *Store) settle(settlement outbox.Settlement, now time.Time) outbox.Settled {
	in, d := settlement.Intent, settlement.Decision
	doc := s.held(in)
	if doc == nil {
		var at *outbox.Intent
		if other, ok := s.intents[key(in.Document["_id"])]; ok {
			at = outbox.Parse(clone(other).(map[string]any), s.rules)
		}
		return settlement.Repeated(at)
	}
	if s.holds("", in.Document["_id"]) {
		return outbox.Settled{Busy: "somebody holds the intent"}
	}
	if u := s.updateOf(settlement); u != nil && s.holds(u.Collection, u.ID) {
		return s.record(doc, settlement, now)
	}
	c := s.consequences(settlement, now)
	if d.Status.Final() {
		delete(doc, "outcome")
	}
	delete(doc, "lease")
	for _, field := range []string{"due_at", "done_at", "purge_at", "dead_at", "dead_reason"} {
		delete(doc, field)
	}
	doc["status"], doc["attempts"] = string(d.Status), int64(d.Attempts)
	switch d.Status {
	case outbox.StatusDone:
		doc["done_at"], doc["purge_at"] = now, now.Add(s.retention)
	case outbox.StatusDead:
		doc["dead_at"], doc["dead_reason"] = now, string(d.Reason)
	default:
		doc["due_at"] = now.Add(max(0, d.Delay.Truncate(time.Millisecond)))
	}
	mark(doc, d, now)
	if f := c.lastError(d.Failure); f != nil {
		doc["last_error"] = errorDocument(f, now)
	}
	if d.Receipt != nil {
		doc["result"] = receiptDocument(d.Receipt)
	}
	writeHistory(doc, settlement)
	untouched(doc)
	return outbox.Settled{Notes: c.notes}
}

// updateOf returns the write_back that a settlement brings along, nil if there is none.
func (s *Store) updateOf(settlement outbox.Settlement) *outbox.Update {
	if !settlement.Brings() {
		return nil
	}
	_, update := settlement.Intent.Consequences(settlement.Decision, s.rules)
	return update
}

// record writes the outcome of an intent whose consequences have to wait.
func (s *Store) record(doc map[string]any, settlement outbox.Settlement, now time.Time) outbox.Settled {
	const why = "somebody holds the business document"
	d, again := settlement.Decision, settlement.Backoff(now)
	outcome := texts("event", d.Event.String(), "reason", string(d.Reason), "class", string(d.Outcome), "why", why)
	outcome["attempts"], outcome["tries"], outcome["at"] = int64(d.Attempts), int64(1), now
	if before := settlement.Intent.Outcome; before != nil {
		outcome["tries"] = int64(before.Tries + 1)
		if !before.At.IsZero() {
			outcome["at"] = before.At
		}
	}
	if d.Receipt != nil {
		outcome["receipt"] = receiptDocument(d.Receipt)
	}
	if d.Failure != nil {
		failure := errorDocument(d.Failure, now)
		delete(failure, "at")
		outcome["failure"] = failure
		doc["last_error"] = errorDocument(d.Failure, now)
	}
	delete(doc, "lease")
	mark(doc, d, now)
	doc["status"], doc["due_at"], doc["attempts"], doc["outcome"] = string(outbox.StatusPending), now.Add(again), int64(d.Attempts), outcome
	writeHistory(doc, settlement)
	return outbox.Settled{Waiting: why, Again: again}
}

func receiptDocument(r *outbox.Receipt) map[string]any {
	return texts("provider", r.Provider, "id", r.ID, "status", r.Status)
}

// mark keeps, sets or clears ambiguous_at.
func mark(doc map[string]any, d outbox.Decision, now time.Time) {
	switch _, marked := doc["ambiguous_at"]; {
	case d.Ambiguous == outbox.ClearMark:
		delete(doc, "ambiguous_at")
	case d.Ambiguous == outbox.SetMark && !marked:
		doc["ambiguous_at"] = now
	}
}

// untouched removes first_attempt_at from what was given back, unless the document shows that there was more than that.
func untouched(doc map[string]any) {
	if doc["attempts"] != int64(0) {
		return
	}
	for _, field := range []string{"ambiguous_at", "dropped", "generation", "history", "last_error", "outcome", "progress", "resolved", "result", "retried"} {
		if _, ok := doc[field]; ok {
			return
		}
	}
	delete(doc, "first_attempt_at")
}

func writeHistory(doc map[string]any, settlement outbox.Settlement) {
	records, dropped := settlement.History()
	if len(records) == 0 {
		return
	}
	history := make([]any, len(records))
	for i, r := range records {
		entry := texts("what", string(r.What), "outcome", string(r.Outcome), "code", r.Code, "provider_code", r.ProviderCode, "request_id", r.RequestID, "ref", r.Ref,
			"worker", r.Worker, "by", r.By, "why", r.Why, "job", r.Job)
		for name, n := range map[string]int{"attempt": r.Attempt, "http_status": r.HTTPStatus, "n": r.N} {
			if n != 0 {
				entry[name] = int64(n)
			}
		}
		for name, at := range map[string]time.Time{"at": r.At, "first": r.First, "last": r.Last} {
			if !at.IsZero() {
				entry[name] = at
			}
		}
		if r.Worker != "" {
			entry["ms"] = r.Took.Milliseconds()
		}
		history[i] = entry
	}
	if doc["history"] = history; dropped > 0 {
		doc["dropped"] = int64(dropped)
	}
}

func errorDocument(failure *outbox.Failure, now time.Time) map[string]any {
	f := failure.Stored()
	e := texts("class", string(f.Class), "code", f.Code, "message", f.Message, "provider", f.Provider, "provider_code", f.ProviderCode, "request_id", f.RequestID)
	if f.HTTPStatus != 0 {
		e["http_status"] = int64(f.HTTPStatus)
	}
	e["at"] = now
	return e
}

// texts makes a document of names and values, without the empty ones.
func texts(pairs ...string) map[string]any {
	doc := make(map[string]any, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			doc[pairs[i]] = pairs[i+1]
		}
	}
	return doc
}
