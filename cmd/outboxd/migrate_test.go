package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/migrations"
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

// A mistyped kind would wait for ever. The validator refuses it, says which kinds there are, and lets in what is
// registered.
func TestMigrateRegistersKinds(t *testing.T) {
	w := emptyWorld(t)
	file := filepath.Join(t.TempDir(), "outboxd.yaml")
	if err := os.WriteFile(file, []byte("kinds: [fax]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	inserted := func(kind string) string {
		follow := bson.A{bson.D{{Key: "kind", Value: kind}, {Key: "payload", Value: bson.D{{Key: "a", Value: 1}}}}}
		for _, doc := range []bson.D{
			{{Key: "kind", Value: kind}, {Key: "payload", Value: bson.D{{Key: "a", Value: 1}}}},
			{{Key: "kind", Value: "sms"}, {Key: "payload", Value: bson.D{{Key: "to", Value: "+15005550006"},
				{Key: "from", Value: "+15005550006"}, {Key: "body", Value: "x"}}}, {Key: "on_dead", Value: follow}},
		} {
			doc = append(doc, bson.E{Key: "status", Value: "pending"}, bson.E{Key: "due_at", Value: time.Now()})
			_, err := w.db.Collection("outbox").InsertOne(t.Context(), doc)
			reasons := migrations.Reasons(err)
			if err != nil && len(reasons) != 1 {
				t.Fatalf("%v: %v", err, reasons)
			}
			if err != nil {
				return reasons[0].String()
			}
		}
		return ""
	}
	for _, step := range []struct {
		name    string
		args    []string
		refused map[string]string // why each kind is refused; empty: it is let in
	}{
		{"at first", nil, map[string]string{"emial": "registered: charge, email, sms.", "fax": "registered: charge, email, sms."}},
		{"with a file that lists a kind", []string{"--config", file}, map[string]string{"emial": "charge, email, sms, fax.", "fax": ""}},
		{"without it, what is registered stays", nil, map[string]string{"Fax": "charge, email, sms, fax.", "fax": ""}},
		{"with every kind let in", []string{"--allow-unknown-kinds"}, map[string]string{"emial": "", "fax": ""}},
		{"again, that stays", nil, map[string]string{"emial": ""}},
		{"with all forgotten", []string{"--forget-kinds"}, map[string]string{"fax": "registered: charge, email, sms."}},
	} {
		must(t, exitDone, w.env, append([]string{"migrate"}, step.args...)...)
		for kind, want := range step.refused {
			if got := inserted(kind); (got == "") != (want == "") || !strings.Contains(got, want) {
				t.Errorf("%s, an insert of kind %s: %q, want %q", step.name, kind, got, want)
			}
		}
		if r := must(t, exitDone, w.env, "migrate", "--dry-run"); r.out != nothingToDo+"\n" {
			t.Errorf("%s, a run after that:\n%s", step.name, r.out)
		}
		if drift, err := migrations.New(w.db, "").Drift(t.Context()); err != nil || len(drift) > 0 {
			t.Errorf("%s: %v, %v", step.name, drift, err)
		}
	}

	// Restored without the side collection, the kinds are still in the validator.
	must(t, exitDone, w.env, "migrate", "--config", file)
	if _, err := w.db.Collection("outbox").DeleteMany(t.Context(), bson.D{}); err != nil {
		t.Fatal(err)
	}
	if err := w.db.Collection("outbox_meta").Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	must(t, exitDone, w.env, "migrate")
	if why := inserted("fax"); why != "" {
		t.Errorf("after a restore: %s", why)
	}
	// A migration of before there was a list let every kind in, and registers those that there are now.
	if _, err := w.db.Collection("outbox_meta").DeleteOne(t.Context(), bson.D{{Key: "_id", Value: "kinds"}}); err != nil {
		t.Fatal(err)
	}
	must(t, exitDone, w.env, "migrate")
	if why := inserted("fax"); why != "" {
		t.Errorf("after the record was lost: %s", why)
	}
}
