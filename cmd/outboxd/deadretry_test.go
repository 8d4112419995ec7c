package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/cmd/internal/config"
	"github.com/outboxd/outboxd/providers/simulator"
	"github.com/outboxd/outboxd/store"
)

// oneLine undoes the wrapping of a text.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

func TestDeadRetry(t *testing.T) {
	w := newWorld(t)
	now := time.Now().UTC().Truncate(time.Millisecond)
	progress := bson.E{Key: "progress", Value: bson.D{{Key: "payment_intent", Value: "pi_1"}}}
	doubt := bson.E{Key: "ambiguous_at", Value: now}
	w.insert(t,
		append(deadLetter("declined", "charge", "permanent", "declined", now), progress, bson.E{Key: "first_attempt_at", Value: now.Add(-time.Hour)},
			bson.E{Key: "history", Value: bson.A{bson.D{{Key: "attempt", Value: 3}, {Key: "outcome", Value: "permanent"}, {Key: "code", Value: "declined"}}}}),
		append(deadLetter("unknown charge", "charge", "ambiguous", "no_answer", now), progress, doubt),
		append(deadLetter("unknown sms", "sms", "ambiguous", "no_answer", now), doubt),
		deadLetter("exhausted", "sms", "exhausted", "not_sent", now),
		deadLetter("other", "email", "exhausted", "not_sent", now.Add(-48*time.Hour)),
	)

	dry := must(t, exitFailed, w.env, "dead", "retry", "--since", "1h", "--dry-run", "--rate", "1/h", "--even-final")
	checkHuman(t, dry.out)
	for _, want := range []string{"declined: would be retried: charge, generation 1; it had died of declined", "exhausted: would be retried: sms; it had died of not_sent",
		"unknown sms: refused: nobody knows", "answer with `outboxd resolve`", "3 would be retried, 1 would be refused. Nothing was changed."} {
		if !strings.Contains(oneLine(dry.out), want) {
			t.Errorf("no word of %q in:\n%s", want, dry.out)
		}
	}
	if n := w.count(t, bson.D{{Key: "status", Value: "dead"}}); n != 5 {
		t.Errorf("%d dead letters after a dry run, want all 5", n)
	}

	lines := objects(t, must(t, exitFailed, w.env, "dead", "retry", "--since", "1h", "--json", "--by", "ada", "--why", "the bank is back").out)
	if len(lines) != 4 {
		t.Fatalf("%d lines, want 4: %v", len(lines), lines)
	}
	for _, line := range lines {
		why, _ := line["why"].(string)
		refused := map[any]string{"unknown sms": "nobody knows", "declined": "--even-final"}[line["_id"]]
		if line["retried"] != (refused == "") || !strings.Contains(why, refused) || len(line) != 6 || line["code"] == nil || (line["generation"] == nil) != (refused != "") {
			t.Errorf("refused %q: %v", refused, line)
		}
	}
	if doc := w.get(t, "exhausted"); text(doc, "retried", "by") != "ada" || text(doc, "retried", "why") != "the bank is back" || doc.Lookup("retried", "n").AsInt64() != 1 {
		t.Errorf("retried: %v", doc)
	}
	for outcome, n := range map[string]int64{"done": 2, "refused": 2} { // and nothing of the dry run
		if got := w.audited(t, bson.D{{Key: "op", Value: "retry"}, {Key: "who", Value: "ada"}, {Key: "why", Value: "the bank is back"}, {Key: "outcome", Value: outcome}}); got != n {
			t.Errorf("%d records of what was %s, want %d", got, outcome, n)
		}
	}
	must(t, exitDone, w.env, "dead", "retry", "declined", "--even-final")

	again := w.get(t, "declined")
	if text(again, "status") != "pending" || again.Lookup("generation").AsInt64() != 1 || again.Lookup("max_attempts").AsInt64() != 15 || !strings.Contains(text(again, "retried", "by"), "@") {
		t.Errorf("retried: %v", again)
	}
	for _, gone := range []string{"dead_at", "dead_reason", "purge_at"} {
		if _, err := again.LookupErr(gone); err == nil {
			t.Errorf("a retry left %s", gone)
		}
	}
	if text(again, "progress", "payment_intent") != "pi_1" || again.Lookup("first_attempt_at").Time().IsZero() {
		t.Errorf("a retry under new keys lost what the old payment is cancelled by: %v", again)
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
	if r := must(t, exitWrongUse, w.env, "dead", "retry", "--rate", "fast", "--since", "never", "--why", strings.Repeat("x", 501)); !strings.Contains(r.err, "3 problems") {
		t.Errorf("%s", r.err)
	}
}

// Who has opted out is not written to again, and what Twilio may have sent is not sent twice, whatever was done to the
// document since.
func TestDeadRetrySendsNothingThatItMustNot(t *testing.T) {
	w := newWorld(t)
	to := func(id, number string) bson.D {
		doc := intent("sms", id)
		doc[4].Value = bson.D{{Key: "to", Value: number}, {Key: "from", Value: "+15005550006"}, {Key: "body", Value: id}}
		return doc
	}
	const optedOut = "+15005550004"
	w.insert(t, to("out 1", optedOut), to("out 2", optedOut))
	for number, id := range map[string]string{"+4915100000001": "mark", "+4915100000002": "reason", "+4915100000003": "error", "+4915100000004": "status", "+4915100000005": "all but history"} {
		w.fault(t, simulator.Fault{Provider: simulator.ProviderTwilio, Route: "send", When: simulator.After, Do: simulator.DoReset, Match: simulator.Match{To: number, Times: 1}})
		w.insert(t, to(id, number))
	}
	must(t, exitDone, w.env, "worker", "--until-empty", "--log-level", "error")
	if n := w.count(t, bson.D{{Key: "status", Value: "dead"}}); n != 7 {
		t.Fatalf("%d dead letters, want 7", n)
	}
	before := w.sim.Sim.Effects()

	r := must(t, exitFailed, w.env, "dead", "retry", "--code", "opted_out", "--even-final")
	if !strings.Contains(r.out, "0 retried, 2 refused.") || strings.Count(oneLine(r.out), "do not send again") != 2 {
		t.Errorf("opted out:\n%s", r.out)
	}

	edit := func(id string, update bson.D) {
		t.Helper()
		if result, err := w.outbox().UpdateOne(t.Context(), bson.D{{Key: "_id", Value: id}}, update); err != nil || result.ModifiedCount != 1 {
			t.Fatalf("edit %s: %v, %v", id, result, err)
		}
	}
	set := func(fields ...bson.E) bson.E { return bson.E{Key: "$set", Value: bson.D(fields)} }
	unset := func(fields ...string) bson.E {
		var d bson.D
		for _, f := range fields {
			d = append(d, bson.E{Key: f, Value: ""})
		}
		return bson.E{Key: "$unset", Value: d}
	}
	noError := bson.E{Key: "last_error", Value: bson.D{{Key: "class", Value: "transient"}, {Key: "code", Value: "not_sent"}}}
	edit("mark", bson.D{unset("ambiguous_at")})
	edit("reason", bson.D{unset("ambiguous_at"), set(bson.E{Key: "dead_reason", Value: "exhausted"})})
	edit("error", bson.D{unset("ambiguous_at"), set(noError)})
	edit("status", bson.D{unset("ambiguous_at", "last_error", "dead_reason", "dead_at"), set(bson.E{Key: "status", Value: "pending"}, bson.E{Key: "due_at", Value: time.Now().Add(time.Hour)})})
	edit("status", bson.D{unset("due_at"), set(bson.E{Key: "status", Value: "dead"}, bson.E{Key: "dead_reason", Value: "exhausted"}, bson.E{Key: "dead_at", Value: time.Now()})})
	edit("all but history", bson.D{unset("ambiguous_at"), set(bson.E{Key: "dead_reason", Value: "exhausted"}, noError)})
	r = must(t, exitFailed, w.env, "dead", "retry", "mark", "reason", "error", "status", "all but history")
	if !strings.Contains(r.out, "0 retried, 5 refused.") {
		t.Errorf("what may have been sent:\n%s", r.out)
	}
	must(t, exitDone, w.env, "worker", "--until-empty", "--log-level", "error")
	if after := w.sim.Sim.Effects(); len(after) != len(before) || len(after) != 5 {
		t.Errorf("%d texts were sent at first, %d in the end, want 5", len(before), len(after))
	}
}

// At a rate the command retries one after another and stops at a signal. What it did is done, and the rest is as it
// was.
func TestDeadRetryAtARateStopsAtASignal(t *testing.T) {
	for name, sig := range map[string]os.Signal{"SIGTERM": syscall.SIGTERM, "SIGINT": os.Interrupt} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			for _, id := range []string{"a", "b", "c", "d"} {
				w.insert(t, deadLetter(id, "sms", "exhausted", "not_sent", time.Now()))
			}
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(self, "dead", "retry", "--kind", "sms", "--rate", "1/h", "--json")
			cmd.Env = append(slices.Clone(w.env), runAsOutboxd)
			var told strings.Builder
			cmd.Stderr = &told
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = cmd.Process.Kill() })
			lines := bufio.NewReader(out)
			first, err := lines.ReadString('\n')
			if err != nil {
				t.Fatalf("the first line: %v\n%s", err, told.String())
			}
			var line map[string]any
			if err := json.Unmarshal([]byte(first), &line); err != nil || line["retried"] != true {
				t.Errorf("first %s, %v", first, err)
			}
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			rest, err := io.ReadAll(lines)
			if err != nil || len(rest) > 0 {
				t.Errorf("after the signal: %s, %v", rest, err)
			}
			if exit, ok := errors.AsType[*exec.ExitError](cmd.Wait()); !ok || exit.ExitCode() != exitFailed {
				t.Errorf("ended by %v, want exit code %d", exit, exitFailed)
			}
			if !strings.Contains(told.String(), "1 retried, 0 refused, 3 left as they were") {
				t.Errorf("it said:\n%s", told.String())
			}
			soon := bson.D{{Key: "status", Value: "pending"}, {Key: "due_at", Value: bson.D{{Key: "$lte", Value: time.Now()}}}}
			if due, dead := w.count(t, soon), w.count(t, bson.D{{Key: "status", Value: "dead"}}); due != 1 || dead != 3 {
				t.Errorf("%d are due, %d dead, want 1 and 3", due, dead)
			}
		})
	}
}

// A rate lets all become due in the end, one by one.
func TestDeadRetryAtARate(t *testing.T) {
	w := newWorld(t)
	for _, id := range []string{"a", "b", "c"} {
		w.insert(t, deadLetter(id, "sms", "exhausted", "not_sent", time.Now()))
	}
	began := time.Now()
	if r := must(t, exitDone, w.env, "dead", "retry", "a", "b", "c", "--rate", "20/s"); !strings.Contains(r.out, "3 retried, 0 refused.") {
		t.Errorf("%s", r.out)
	}
	if took := time.Since(began); took < 100*time.Millisecond {
		t.Errorf("three at 20 a second took %v", took)
	}
	due := func(id string) time.Time { return w.get(t, id).Lookup("due_at").Time() }
	if due("b").Sub(due("a")) < 40*time.Millisecond || due("c").Sub(due("b")) < 40*time.Millisecond || due("c").After(time.Now()) {
		t.Errorf("due at %v, %v, %v", due("a"), due("b"), due("c"))
	}
}

// Which collections may be written back to is the workers' configuration. Only a refusal for that reason speaks of it.
func TestDeadRetryNeedsTheWorkersFile(t *testing.T) {
	w := newWorld(t)
	writeBack := bson.E{Key: "write_back", Value: bson.D{{Key: "collection", Value: "orders"}, {Key: "id", Value: "o"}, {Key: "done", Value: bson.D{{Key: "state", Value: "paid"}}}}}
	w.insert(t, append(deadLetter("paid", "sms", "exhausted", "not_sent", time.Now()), writeBack),
		append(deadLetter("unknown", "sms", "ambiguous", "no_answer", time.Now()), writeBack),
		append(deadLetter("out", "sms", "permanent", "opted_out", time.Now()), writeBack),
		append(deadLetter("late", "sms", "expired", "expired", time.Now()), bson.E{Key: "expires_at", Value: time.Now()}))
	line := objects(t, must(t, exitFailed, w.env, "dead", "retry", "paid", "--json").out)[0]
	if why, _ := line["why"].(string); !strings.Contains(why, "name the file by --config") || line["generation"] != nil || len(line) != 6 {
		t.Errorf("refused: %v", line)
	}
	for _, line := range objects(t, must(t, exitFailed, w.env, "dead", "retry", "unknown", "out", "late", "--json").out) {
		if why, _ := line["why"].(string); why == "" || strings.Contains(why, "--config") {
			t.Errorf("the configuration is blamed: %v", line)
		}
	}
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "outboxd.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	line = objects(t, must(t, exitFailed, w.env, "dead", "retry", "paid", "--json", "--config", file("write_back: {collections: [payments]}\n")).out)[0]
	if why, _ := line["why"].(string); !strings.Contains(why, "does not allow it") {
		t.Errorf("refused by the file that was named: %v", line)
	}
	line = objects(t, must(t, exitDone, append(w.env, "OUTBOXD_CONFIG="+file("write_back: {collections: [orders]}\n")), "dead", "retry", "paid", "--json").out)[0]
	if line["retried"] != true || line["why"] != nil || len(line) != 6 {
		t.Errorf("not retried: %v", line)
	}
}

// What nobody wants any more ends, with who said so. What may have been sent does not.
func TestDeadDiscard(t *testing.T) {
	w := newWorld(t)
	now := time.Now().UTC().Truncate(time.Millisecond)
	w.insert(t, deadLetter("out 1", "sms", "permanent", "opted_out", now), deadLetter("out 2", "sms", "permanent", "opted_out", now),
		append(deadLetter("doubt", "sms", "ambiguous", "no_answer", now), bson.E{Key: "ambiguous_at", Value: now}), intent("sms", "alive"))
	dry := must(t, exitFailed, w.env, "dead", "discard", "--kind", "sms", "--dry-run", "--why", "tidy")
	checkHuman(t, dry.out)
	if !strings.Contains(dry.out, "2 would be discarded, 1 would be refused. Nothing was changed.") || w.count(t, bson.D{{Key: "status", Value: "dead"}}) != 3 || w.audited(t, bson.D{}) != 0 {
		t.Errorf("a dry run:\n%s", dry.out)
	}
	lines := objects(t, must(t, exitFailed, w.env, "dead", "discard", "out 1", "doubt", "alive", "--why", "they opted out", "--by", "ada", "--json").out)
	if len(lines) != 3 || lines[0]["discarded"] != true || lines[1]["discarded"] != false || lines[2]["discarded"] != false || len(lines[0]) != 5 || !strings.Contains(lines[1]["why"].(string), "nobody knows") {
		t.Errorf("discard: %v", lines)
	}
	if doc := w.get(t, "out 1"); text(doc, "status") != "cancelled" || doc.Lookup("purge_at").Type == 0 || !strings.Contains(doc.Lookup("history").String(), "they opted out") {
		t.Errorf("discarded: %v", doc)
	}
	if text(w.get(t, "doubt"), "status") != "dead" || text(w.get(t, "alive"), "status") != "pending" {
		t.Error("what was refused was changed")
	}
	for outcome, n := range map[string]int64{"done": 1, "refused": 2} {
		if got := w.audited(t, bson.D{{Key: "op", Value: "discard"}, {Key: "who", Value: "ada"}, {Key: "outcome", Value: outcome}}); got != n {
			t.Errorf("%d records of what was %s, want %d", got, outcome, n)
		}
	}
	if r := must(t, exitDone, w.env, "dead", "discard", "--code", "opted_out", "--why", "tidy"); !strings.Contains(r.out, "out 2: discarded: sms") {
		t.Errorf("by code:\n%s", r.out)
	}
	must(t, exitWrongUse, w.env, "dead", "discard", "out 2")
	must(t, exitWrongUse, w.env, "dead", "discard", "out 2", "--why", " ")
	must(t, exitWrongUse, w.env, "dead", "discard", "--why", "x")
}

// Who dies again after the letters were chosen was not meant: neither by a filter, nor hours later at a rate.
func TestLettersThatDieAgainAreLeftAlone(t *testing.T) {
	w := newWorld(t)
	w.insert(t, deadLetter("again", "sms", "exhausted", "not_sent", time.Now()), deadLetter("once", "sms", "exhausted", "not_sent", time.Now()))
	workers, err := loadDeployment(config.Source{Env: lookup(nil)})
	if err != nil {
		t.Fatal(err)
	}
	p := &program{source: config.Source{Env: lookup(w.env)}}
	d := p.desk(store.New(w.db, "", store.Options{}), workers, "ada")
	letters, err := d.filtered(t.Context(), store.Filter{Kind: "sms"})
	if err != nil || len(letters) != 2 {
		t.Fatalf("%d letters, %v", len(letters), err)
	}
	if _, err := w.outbox().UpdateOne(t.Context(), bson.D{{Key: "_id", Value: "again"}}, bson.D{{Key: "$set", Value: bson.D{{Key: "dead_at", Value: time.Now().Add(time.Hour)}}}}); err != nil {
		t.Fatal(err)
	}
	for _, l := range letters {
		_, err := l.read(t.Context())
		if again := l.name == `"again"`; errors.Is(err, store.ErrChanged) != again || !again && err != nil {
			t.Errorf("%s: %v", l.name, err)
		}
	}
}
