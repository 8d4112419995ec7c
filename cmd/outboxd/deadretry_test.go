package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

func TestDeadRetry(t *testing.T) {
	w := newWorld(t)
	now := time.Now().UTC().Truncate(time.Millisecond)
	progress := bson.E{Key: "progress", Value: bson.D{{Key: "payment_intent", Value: "pi_1"}}}
	doubt := bson.E{Key: "ambiguous_at", Value: now}
	w.insert(t,
		append(deadLetter("declined", "charge", "permanent", "declined", now), progress),
		append(deadLetter("unknown charge", "charge", "ambiguous", "no_answer", now), progress, doubt),
		append(deadLetter("unknown sms", "sms", "ambiguous", "no_answer", now), doubt),
		deadLetter("exhausted", "sms", "exhausted", "not_sent", now),
		deadLetter("other", "email", "exhausted", "not_sent", now.Add(-48*time.Hour)),
	)

	dry := must(t, exitFailed, w.env, "dead", "retry", "--since", "1h", "--dry-run")
	checkHuman(t, dry.out)
	for _, want := range []string{"declined: would be retried: charge, generation 1", "exhausted: would be retried: sms", "unknown sms: refused: nobody knows", "3 would be retried, 1 would be refused. Nothing was changed."} {
		if !strings.Contains(strings.Join(strings.Fields(dry.out), " "), want) {
			t.Errorf("no word of %q in:\n%s", want, dry.out)
		}
	}
	if n := w.count(t, bson.D{{Key: "status", Value: "dead"}}); n != 5 {
		t.Errorf("%d dead letters after a dry run, want all 5", n)
	}

	lines := objects(t, must(t, exitFailed, w.env, "dead", "retry", "--since", "1h", "--rate", "1/m", "--json").out)
	if len(lines) != 4 {
		t.Fatalf("%d lines, want 4: %v", len(lines), lines)
	}
	spread := map[any]bool{}
	for _, line := range lines {
		if line["_id"] == "unknown sms" {
			if line["retried"] != false || !strings.Contains(line["why"].(string), "nobody knows") {
				t.Errorf("not refused: %v", line)
			}
			continue
		}
		if line["retried"] != true {
			t.Errorf("not retried: %v", line)
		}
		spread[line["due_in_s"]] = true
	}
	if !spread[0.0] || !spread[60.0] || !spread[120.0] {
		t.Errorf("at one a minute they are due in %v seconds", spread)
	}

	again := w.get(t, "declined")
	if text(again, "status") != "pending" || again.Lookup("generation").AsInt64() != 1 || again.Lookup("max_attempts").AsInt64() != 15 {
		t.Errorf("retried: %v", again)
	}
	for _, gone := range []string{"dead_at", "dead_reason", "progress", "first_attempt_at", "purge_at"} {
		if _, err := again.LookupErr(gone); err == nil {
			t.Errorf("a retry under new keys left %s", gone)
		}
	}
	asked := w.get(t, "unknown charge")
	if text(asked, "progress", "payment_intent") != "pi_1" || asked.Lookup("ambiguous_at").Time().IsZero() {
		t.Errorf("a charge in doubt lost what its delivery asks by: %v", asked)
	}
	if _, err := asked.LookupErr("generation"); err == nil {
		t.Error("a charge in doubt got new keys")
	}
	if text(w.get(t, "unknown sms"), "status") != "dead" {
		t.Error("a refused dead letter was changed")
	}

	must(t, exitDone, w.env, "dead", "retry", "other")
	if r := must(t, exitFailed, w.env, "dead", "retry", "other", "nobody"); !strings.Contains(r.out, "it is pending, not dead") || !strings.Contains(r.err, `"nobody"`) {
		t.Errorf("ids: %s%s", r.out, r.err)
	}
	must(t, exitWrongUse, w.env, "dead", "retry")
	must(t, exitWrongUse, w.env, "dead", "retry", "--kind", "sms", "x")
	if r := must(t, exitWrongUse, w.env, "dead", "retry", "--rate", "fast", "--since", "never"); !strings.Contains(r.err, "2 problems") {
		t.Errorf("%s", r.err)
	}
}

// Which collections may be written back to is the workers' configuration; without it the refusal says what may be missing.
func TestDeadRetryNeedsTheWorkersFile(t *testing.T) {
	w := newWorld(t)
	w.insert(t, append(deadLetter("paid", "sms", "exhausted", "not_sent", time.Now()),
		bson.E{Key: "write_back", Value: bson.D{{Key: "collection", Value: "orders"}, {Key: "id", Value: "o"}, {Key: "done", Value: bson.D{{Key: "state", Value: "paid"}}}}}))
	line := objects(t, must(t, exitFailed, w.env, "dead", "retry", "paid", "--json").out)[0]
	if why, _ := line["why"].(string); !strings.Contains(why, "name the file by --config") || line["generation"] != nil || len(line) != 6 {
		t.Errorf("refused: %v", line)
	}
	file := filepath.Join(t.TempDir(), "outboxd.yaml")
	if err := os.WriteFile(file, []byte("write_back: {collections: [orders]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	line = objects(t, must(t, exitDone, append(w.env, "OUTBOXD_CONFIG="+file), "dead", "retry", "paid", "--json").out)[0]
	if line["retried"] != true || line["why"] != nil || len(line) != 6 {
		t.Errorf("not retried: %v", line)
	}
}
