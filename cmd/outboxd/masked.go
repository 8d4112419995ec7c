package main

import (
	"maps"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/admin"
	"github.com/outboxd/outboxd/outbox"
)

// ours are the fields of an intent that hold nothing of a customer's: the contract's, but for what holds payloads.
var ours = []string{"_id", "kind", "status", "due_at", "priority", "expires_at", "created_at", "max_attempts", "on_ambiguous", "metadata", "trace",
	"attempts", "generation", "first_attempt_at", "first_due_at", "ambiguous_at", "lease", "last_error", "history", "dropped", "progress",
	"result", "outcome", "dead_at", "dead_reason", "done_at", "cancelled_at", "purge_at", "retried", "resolved"}

// maskedDoc returns an intent's document as it may be shown to anybody: payloads are masked by their types, those of
// follow-ups as well, and so is what the contract does not know.
func maskedDoc(in outbox.Snapshot) (bson.D, error) {
	elements, err := rawOf(in).Elements()
	if err != nil {
		return nil, err
	}
	doc := make(bson.D, 0, len(elements))
	for _, e := range elements {
		key, value := e.Key(), any(e.Value())
		switch {
		case key == "on_done" || key == "on_dead":
			value = maskedFollowUps(e.Value(), in.Document[key])
		case key == "write_back":
			value = maskedBut(e.Value(), in.Document[key], "collection", "id")
		case !slices.Contains(ours, key):
			value = documentOf(admin.Mask(in.Document[key]))
		}
		doc = append(doc, bson.E{Key: key, Value: value})
	}
	return doc, nil
}

// maskedFollowUps masks the payloads of follow-ups.
func maskedFollowUps(raw bson.RawValue, v any) any {
	array, _ := raw.ArrayOK()
	items, err := array.Values()
	list, ok := v.([]any)
	if err != nil || !ok || len(items) != len(list) {
		return documentOf(admin.Mask(v))
	}
	masked := make(bson.A, len(list))
	for i, item := range items {
		masked[i] = maskedBut(item, list[i], "kind", "when", "metadata", "priority", "delay_seconds", "max_attempts", "on_ambiguous")
	}
	return masked
}

// maskedBut masks the fields of a document but those that are named.
func maskedBut(raw bson.RawValue, v any, plain ...string) any {
	document, _ := raw.DocumentOK()
	elements, err := document.Elements()
	fields, ok := v.(map[string]any)
	if err != nil || !ok {
		return documentOf(admin.Mask(v))
	}
	masked := make(bson.D, 0, len(elements))
	for _, e := range elements {
		value := any(e.Value())
		if !slices.Contains(plain, e.Key()) {
			value = documentOf(admin.Mask(fields[e.Key()]))
		}
		masked = append(masked, bson.E{Key: e.Key(), Value: value})
	}
	return masked
}

// documentOf makes a value that can be written as Extended JSON of one that package admin masked. What has no order is
// put in that of its names.
func documentOf(v any) any {
	switch v := v.(type) {
	case map[string]any:
		doc := make(bson.D, 0, len(v))
		for _, key := range slices.Sorted(maps.Keys(v)) {
			doc = append(doc, bson.E{Key: key, Value: documentOf(v[key])})
		}
		return doc
	case outbox.Fields:
		doc := make(bson.D, 0, len(v))
		for _, f := range v {
			doc = append(doc, bson.E{Key: f.Name, Value: documentOf(f.Value)})
		}
		return doc
	case []any:
		list := make(bson.A, len(v))
		for i, item := range v {
			list[i] = documentOf(item)
		}
		return list
	default:
		return v
	}
}
