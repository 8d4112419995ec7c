package memory

import (
	"context"
	"fmt"
	"time"

	"github.com/outboxd/outboxd/outbox"
)

// Settle writes what was decided about claimed intents, each only if its claim's token still holds, with its consequences.
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
	c := s.consequences(in, d, now)
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
	if d.Attempts == 0 {
		delete(doc, "first_attempt_at")
	}
	switch _, marked := doc["ambiguous_at"]; {
	case d.Ambiguous == outbox.ClearMark:
		delete(doc, "ambiguous_at")
	case d.Ambiguous == outbox.SetMark && !marked:
		doc["ambiguous_at"] = now
	}
	if f := c.lastError(d.Failure); f != nil {
		doc["last_error"] = errorDocument(f, now)
	}
	if d.Receipt != nil {
		doc["result"] = texts("provider", d.Receipt.Provider, "id", d.Receipt.ID, "status", d.Receipt.Status)
	}
	appendHistory(doc, settlement.Records())
	return outbox.Settled{Notes: c.notes}
}

func appendHistory(doc map[string]any, records []outbox.Record) {
	if len(records) == 0 {
		return
	}
	history, _ := doc["history"].([]any)
	for _, r := range records {
		entry := texts("outcome", string(r.Outcome), "code", r.Code, "worker", r.Worker)
		entry["attempt"] = int64(r.Attempt)
		if !r.At.IsZero() {
			entry["at"] = r.At
		}
		if r.Worker != "" {
			entry["ms"] = r.Took.Milliseconds()
		}
		history = append(history, entry)
	}
	doc["history"] = history[max(0, len(history)-outbox.MaxHistory):]
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
