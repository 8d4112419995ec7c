package main

import (
	"strings"
	"testing"
)

func TestMigrate(t *testing.T) {
	w := emptyWorld(t)

	r := must(t, exitFailed, w.env, "worker")
	if !strings.Contains(r.err, "run `outboxd migrate --database "+w.db.Name()) {
		t.Errorf("an unmigrated database: %s", r.err)
	}

	r = must(t, exitDone, w.env, "migrate", "--dry-run")
	checkHuman(t, r.out)
	if !strings.Contains(r.out, "would ") {
		t.Errorf("--dry-run:\n%s", r.out)
	}
	for _, doc := range objects(t, must(t, exitDone, w.env, "migrate", "--dry-run", "--json").out) {
		if doc["step"] == "" || doc["command"] == nil {
			t.Errorf("--dry-run --json: %v", doc)
		}
	}
	if names, err := w.db.ListCollectionNames(t.Context(), map[string]any{}); err != nil || len(names) > 0 {
		t.Errorf("--dry-run changed the database: %v, %v", names, err)
	}

	r = must(t, exitDone, w.env, "migrate", "status")
	checkHuman(t, r.out)
	if !strings.Contains(r.out, "not yet") || !strings.Contains(r.out, "pending: ") {
		t.Errorf("status before:\n%s", r.out)
	}

	r = must(t, exitDone, w.env, "migrate", "--json")
	for _, doc := range objects(t, r.out) {
		if _, ok := doc["ms"].(float64); !ok || doc["step"] == "" {
			t.Errorf("migrate --json: %v", doc)
		}
	}
	if r = must(t, exitDone, w.env, "migrate"); r.out != nothingToDo+"\n" {
		t.Errorf("a second run:\n%s", r.out)
	}

	r = must(t, exitDone, w.env, "migrate", "status")
	checkHuman(t, r.out)
	if strings.Contains(r.out, "not yet") || strings.Contains(r.out, "pending: ") {
		t.Errorf("status after:\n%s", r.out)
	}
	for _, doc := range objects(t, must(t, exitDone, w.env, "migrate", "status", "--json").out) {
		applied, _ := doc["applied_at"].(map[string]any)
		if doc["version"] != float64(1) || doc["name"] == "" || applied["$date"] == nil || doc["by"] == "" {
			t.Errorf("status --json: %v", doc)
		}
	}
}
