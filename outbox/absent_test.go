package outbox

import (
	"maps"
	"testing"
)

// What object mappers write by themselves says nothing: a null is an absent field, and four names are nobody's.
func TestObjectMappersAreUnderstood(t *testing.T) {
	for name, base := range map[string]map[string]any{KindCharge: chargePayload(), KindEmail: emailPayload(), KindSMS: smsPayload()} {
		plain := Parse(document(name, maps.Clone(base)), testRules)
		doc, payload := document(name, maps.Clone(base)), maps.Clone(base)
		for _, field := range []string{"v", "expires_at", "priority", "dedup_key", "max_attempts", "on_ambiguous", "on_done", "on_dead", "write_back", "metadata", "trace", "created_at"} {
			if _, ok := doc[field]; !ok {
				doc[field] = nil
			}
		}
		for _, field := range []string{"__v", "_class", "createdAt", "updatedAt"} {
			doc[field], payload[field] = "x", int64(0)
		}
		doc["payload"] = payload
		in := Parse(doc, testRules)
		if len(in.Problems) > 0 {
			t.Errorf("%s: %v", name, in.Problems)
		}
		if in.Priority != plain.Priority || in.MaxAttempts != plain.MaxAttempts || !in.ExpiresAt.IsZero() || in.OnAmbiguous != "" || in.DedupKey != plain.DedupKey || in.WriteBack != nil {
			t.Errorf("%s: a null is taken for a value: %+v", name, in)
		}
		if action, _ := Next(in, testPolicy(Retry, true), testNow); action == Settle {
			t.Errorf("%s is not sent", name)
		}
	}
}

// A null is no value where one is required, no metadata, and no name of the contract where the name is unknown.
func TestNullIsNoValue(t *testing.T) {
	for path, wrong := range map[string]bool{"payload.to": true, "kind": true, "payload": true, "due_at": true, "_id": true, "on_ambigous": true,
		"ordering_key": true, "attempts": true, "lease": true, "metadata.outbox_id": true, "payload.media_urls.0": true,
		"metadata.order": false, "payload.media_urls": false, "trace.tracestate": false} {
		doc := document(KindSMS, smsPayload())
		if path == "payload.media_urls.0" {
			doc = edit(doc, "payload.media_urls", []any{nil})
		} else {
			doc = edit(doc, path, nil)
		}
		in := Parse(doc, testRules)
		if (len(in.Problems) > 0) != wrong {
			t.Errorf("%s is null: %v", path, in.Problems)
		}
		if _, ok := in.Metadata["order"]; ok {
			t.Errorf("a null became metadata")
		}
	}
}

func TestParseInsert(t *testing.T) {
	for field, value := range map[string]any{"attempts": int64(0), "lease": nil, "history": []any{}, "first_attempt_at": testNow, "result": map[string]any{},
		"retried": map[string]any{}, "outcome": nil, "dropped": int64(0), "purge_at": testNow} {
		doc := document(KindSMS, smsPayload())
		doc[field] = value
		if in := ParseInsert(doc, testRules); len(in.Problems) == 0 {
			t.Errorf("%s in an insert is accepted", field)
		}
	}
	for _, status := range []string{"leased", "done", "dead", "cancelled"} {
		doc := document(KindSMS, smsPayload())
		doc["status"] = status
		if in := ParseInsert(doc, testRules); len(in.Problems) != 1 || in.Problems[0].Path != "status" {
			t.Errorf("status %s: %v", status, in.Problems)
		}
	}
	if in := ParseInsert(document(KindSMS, smsPayload()), testRules); len(in.Problems) > 0 {
		t.Errorf("a plain insert: %v", in.Problems)
	}
}
