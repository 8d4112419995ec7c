package main

import (
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/store"
)

// findings runs the doctor and returns its findings by check.
func findings(t *testing.T, code int, env []string, args ...string) map[string]map[string]any {
	t.Helper()
	r := must(t, code, env, append([]string{"doctor", "--json"}, args...)...)
	byCheck := make(map[string]map[string]any)
	for _, doc := range objects(t, r.out) {
		byCheck[doc["check"].(string)] = doc
	}
	return byCheck
}

func TestDoctorFindsAHealthyDeploymentWell(t *testing.T) {
	w := newWorld(t)
	found := findings(t, exitDone, w.env, "--credentials")
	if len(found) != 18 {
		t.Errorf("%d checks, want 18", len(found))
	}
	for name, f := range found {
		if f["ok"] != true || f["remedy"] != nil || f["detail"] == "" {
			t.Errorf("%s: %v", name, f)
		}
	}
	checkHuman(t, must(t, exitDone, w.env, "doctor").out)
	if n := w.count(t, bson.D{}); n != 0 {
		t.Errorf("the doctor left %d intents", n)
	}
}

func TestDoctorFindsWhatIsWrong(t *testing.T) {
	w := newWorld(t)
	db := store.New(w.db, "", store.Options{})
	if err := db.Hold(t.Context(), "charge", "unauthorized"); err != nil {
		t.Fatal(err)
	}
	if err := db.Pause(t.Context(), "email", "maintenance", "ada"); err != nil {
		t.Fatal(err)
	}
	if err := db.Limit(t.Context(), "email", 0.5, "the quota", "bob"); err != nil {
		t.Fatal(err)
	}
	if err := db.Break(t.Context(), "sms", "w1", time.Hour); err != nil {
		t.Fatal(err)
	}
	parked := intent("sms", "parked", bson.E{Key: "dead_reason", Value: "ambiguous"}, bson.E{Key: "dead_at", Value: time.Now()})
	parked[2].Value, parked = "dead", append(parked[:3:3], parked[4:]...) // without its due_at
	w.insertPastValidator(t, parked)
	w.insert(t, intent("sms", "unserved"))
	lost := intent("sms", "lost", bson.E{Key: "attempts", Value: 1})
	lost[2].Value, lost[3].Value = "leased", time.Now().Add(-time.Hour)
	w.insertPastValidator(t, lost)
	unseen := intent("sms", "unseen")
	unseen[3].Value = "tomorrow"
	w.insertPastValidator(t, unseen)
	if err := w.outbox().Indexes().DropOne(t.Context(), "dedup"); err != nil {
		t.Fatal(err)
	}
	hide := bson.D{{Key: "collMod", Value: w.outbox().Name()}, {Key: "index", Value: bson.D{{Key: "name", Value: "expires"}, {Key: "hidden", Value: true}}}}
	if err := w.db.RunCommand(t.Context(), hide).Err(); err != nil {
		t.Fatal(err)
	}
	env := append(w.env[:len(w.env):len(w.env)], "TWILIO_API_URL=http://127.0.0.1:1", "SENDGRID_API_KEY=")

	found := findings(t, exitFailed, env, "--credentials")
	for name, want := range map[string]string{
		"schema":                 "run `outboxd migrate`",
		"lanes":                  "correct the credentials of charge and restart its workers; `outboxd lane resume email` when the reason is gone; look at the provider of sms and at the network; probes go on by themselves",
		"ambiguous dead letters": "`outboxd dead list --reason ambiguous` shows them; look at the provider, and answer with `outboxd resolve`",
		"served kinds":           "start a worker with credentials for it, or correct the producer's kind",
		"leases":                 "start a worker for their kinds; it asks the provider before it sends again",
		"malformed intents":      "start a worker, which makes dead letters of them",
		"credentials of sms":     "correct the key or the URL in the environment",
		"credentials of email":   "set SENDGRID_API_KEY, or do without email",
	} {
		if f := found[name]; f["ok"] != false || f["remedy"] != want {
			t.Errorf("%s: %v, want the remedy %q", name, f, want)
		}
	}
	for _, want := range []string{"charge is held since ", "email is paused by ada (maintenance)", "the breaker of sms is open for ", "email is slowed down to 30/m by bob (the quota)"} {
		if detail, _ := found["lanes"]["detail"].(string); !strings.Contains(detail, want) {
			t.Errorf("lanes: %s, want %q", detail, want)
		}
	}
	if f := found["indexes"]; f["ok"] != false || f["detail"] != "what has expired: the index expires cannot be used" {
		t.Errorf("indexes: %v", f)
	}
	for _, name := range []string{"server", "write concern", "privileges", "change stream", "clock", "credentials of charge"} {
		if f := found[name]; f["ok"] != true {
			t.Errorf("%s: %v", name, f)
		}
	}
	r := must(t, exitFailed, env, "doctor")
	checkHuman(t, r.out)
	if !strings.Contains(r.out, "FAIL  schema: ") || !strings.Contains(r.out, "-> run `outboxd migrate`") || r.err != "" {
		t.Errorf("doctor:\n%s%s", r.out, r.err)
	}
}

func TestDoctorOnAnUnmigratedDatabase(t *testing.T) {
	w := emptyWorld(t)
	found := findings(t, exitFailed, w.env)
	if f := found["schema"]; f["ok"] != false || f["remedy"] != "run `outboxd migrate`" {
		t.Errorf("schema: %v", f)
	}
	if f := found["indexes"]; f["ok"] != false || f["detail"] != "the collection outbox does not exist" {
		t.Errorf("indexes: %v", f)
	}
	if names, err := w.db.ListCollectionNames(t.Context(), bson.D{}); err != nil || len(names) > 0 {
		t.Errorf("the doctor made collections: %v, %v", names, err)
	}
}

// A deployment without a database that would do has a finding like any other, also for machines.
func TestDoctorWithoutADatabase(t *testing.T) {
	env := []string{"OUTBOXD_MONGODB_URI=mongodb://user:pa55word@127.0.0.1:1/"}
	found := findings(t, exitFailed, env, "--connect-timeout", "1s")
	if f := found["server"]; len(found) != 1 || f["ok"] != false || !strings.Contains(f["detail"].(string), "did not answer within 1s") || f["remedy"] == nil {
		t.Errorf("found %v", found)
	}
	r := must(t, exitFailed, env, "doctor", "--connect-timeout", "1s")
	checkHuman(t, r.out)
	if !strings.HasPrefix(r.out, "FAIL  server: ") || strings.Count(strings.Join(strings.Fields(r.out), " "), "did not answer within 1s") != 1 || strings.Contains(r.out, "pa55word") || r.err != "" {
		t.Errorf("doctor:\n%s%s", r.out, r.err)
	}
}
