package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Documents that got past the validator, of every wrong type in every field: they end as dead letters or are reported
// as what nobody serves, they stop no lane, take no memory, and nothing of them is in a log.
func TestPoisonStopsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brief)
	w.profile()
	worker := w.worker("--log-level=debug")
	good := 0
	more := func() {
		good++
		n := strconv.Itoa(good)
		w.insert(sms("good-sms-"+n), charge("good-charge-"+n), email("good-email-"+n))
	}
	more()
	for _, toxin := range toxins(t) {
		w.slip(withToxin(toxin)...)
		more()
	}
	for _, bomb := range bombs() {
		w.slip(bomb)
		more()
	}
	eventually(t, "every good intent is done, whatever stands before it", func() bool {
		return w.count(bson.D{{Key: "_id", Value: bson.Regex{Pattern: "^good-"}}, {Key: "status", Value: "done"}}) == 3*good
	})
	w.modest(worker)
	for _, want := range []string{"outboxd_database_up 1", `outboxd_oldest_due_age_seconds{kind="other"} [1-9]`} {
		// Where nothing waits, a census may be a minute away.
		eventuallyWithin(t, 3*patience, "the next census shows "+want, func() bool {
			return regexp.MustCompile("(?m)^" + want).MatchString(w.scrape(worker, "/metrics"))
		})
	}
	page, ready := w.scrape(worker, "/metrics"), w.scrape(worker, "/readyz")
	worker.stop()
	second := w.worker("--log-level=debug", "--until-empty", "--within=20s") // sweeps at its start
	second.succeed()

	effects := w.sim.tally()
	for n := range good {
		for _, kind := range []string{"sms", "charge", "email"} {
			if id := fmt.Sprintf("good-%s-%d", kind, n+1); effects.of(id) != 1 {
				t.Errorf("%s had %d effects", id, effects.of(id))
			}
		}
	}
	w.allEnded(effects)
	w.indexed()
	for what, text := range map[string]string{"log": worker.errOut.String() + second.errOut.String(), "output": worker.out.String() + second.out.String(), "metrics": page, "readiness": ready} {
		if at := strings.Index(text, canary); at >= 0 {
			t.Errorf("the %s shows a document's value: …%s…", what, text[max(0, at-200):at+50])
		}
	}
	w.listed()
}

// slip writes documents past the validator, but for those whose dedup_key another one has.
func (w *world) slip(docs ...bson.M) {
	w.Helper()
	_, err := w.outbox.InsertMany(w.Context(), docs, options.InsertMany().SetBypassDocumentValidation(true).SetOrdered(false))
	refused, _ := errors.AsType[mongo.BulkWriteException](err)
	for _, e := range refused.WriteErrors {
		if !e.HasErrorCode(11000) {
			w.Fatalf("insert a document past the validator: %v", e.Message)
		}
	}
	if err != nil && len(refused.WriteErrors) == 0 {
		w.Fatal(err)
	}
}

// scrape asks a worker's own server.
func (w *world) scrape(worker *process, path string) string {
	w.Helper()
	line := worker.find(worker.errOut, "where it listens", func(line string) bool { return strings.Contains(line, `"msg":"serving"`) })
	var said struct{ Listen string }
	if err := json.Unmarshal([]byte(line), &said); err != nil {
		w.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	resp, err := client.Get("http://" + said.Listen + path)
	if err != nil {
		w.Fatalf("ask the worker for %s: %v", path, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.Fatalf("ask the worker for %s: %v", path, err)
	}
	return string(body)
}

// modest checks that a process never took more memory than a lane full of the largest documents explains. The race
// detector takes several times as much.
func (w *world) modest(p *process) {
	w.Helper()
	most := 1 << 30
	if raceEnabled {
		most *= 4
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if errors.Is(err, os.ErrNotExist) {
		w.Log("this system does not tell how much memory a process took")
		return
	}
	found := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	if err != nil || found == nil {
		w.Fatalf("read how much memory the worker took: %v", err)
	}
	kB, err := strconv.Atoi(string(found[1]))
	if err != nil {
		w.Fatal(err)
	}
	w.Logf("the worker took %d MiB at most", kB>>10)
	if kB<<10 > most {
		w.Errorf("the worker took %d MiB, want at most %d", kB>>10, most>>20)
	}
}

// allEnded checks that no document waits, but for those that nobody serves or that are not due, and that what is not
// done had no effect. kindless reports whether a document has no kind, or null for one.
func kindless(doc bson.Raw) bool {
	switch doc.Lookup("kind").Type {
	case 0, bson.TypeNull, bson.TypeUndefined:
		return true
	default:
		return false
	}
}

func (w *world) allEnded(effects tally) {
	w.Helper()
	cursor, err := w.outbox.Find(w.Context(), bson.D{{Key: "_id", Value: bson.D{{Key: "$not", Value: bson.Regex{Pattern: "^good-|:done:|:dead:"}}}}})
	if err != nil {
		w.Fatal(err)
	}
	ended := map[string]int{}
	for cursor.Next(w.Context()) {
		text := func(path ...string) string { s, _ := cursor.Current.Lookup(path...).StringValueOK(); return s }
		id, kind, status := text("_id"), text("kind"), text("status")
		due, isDate := cursor.Current.Lookup("due_at").TimeOK()
		outcome, code := status+"/"+text("dead_reason"), text("last_error", "code")
		ended[outcome]++
		switch {
		case status == "done":
			if effects.of(id) != 1 {
				w.Errorf("%s is done with %d effects", id, effects.of(id))
			}
			continue
		case outcome == "dead/invalid" && (code == "invalid" || code == "write_back_missed") && text("last_error", "message") != "":
		case outcome == "dead/ambiguous" && code == "lease_expired" && strings.HasPrefix(id, "lease"): // its holder may have called
		case outcome == "dead/expired" && code == "expired":
		case status == "pending" && kindless(cursor.Current): // another program's, by all that is known
		case status == "pending" && kind != "" && kind != "sms" && kind != "email" && kind != "charge": // metrics and doctor tell
		case status == "pending" && isDate && due.After(time.Now()):
		default:
			w.Errorf("%s of kind %q is %s with the last error %q", id, kind, outcome, code)
		}
		if effects.of(id) != 0 {
			w.Errorf("%s is %s and had %d effects", id, outcome, effects.of(id))
		}
		if at := text("last_error", "message"); strings.Contains(at, canary) {
			w.Errorf("the last error of %s shows the value: %s", id, at)
		}
	}
	if err := cursor.Err(); err != nil {
		w.Fatal(err)
	}
	w.Logf("poison ended as %v", ended)
	if ended["dead/invalid"] < 1000 {
		w.Errorf("only %d documents ended as invalid", ended["dead/invalid"])
	}
}

// profile has the database note how it runs each command.
func (w *world) profile() {
	w.Helper()
	if err := w.db.CreateCollection(w.Context(), "system.profile", options.CreateCollection().SetCapped(true).SetSizeInBytes(64<<20)); err != nil {
		w.Fatal(err)
	}
	if err := w.db.RunCommand(w.Context(), bson.D{{Key: "profile", Value: 2}}).Err(); err != nil {
		w.Fatal(err)
	}
}

// indexed checks that nothing a worker asked for was found by reading the whole collection or sorting it.
func (w *world) indexed() {
	w.Helper()
	if err := w.db.RunCommand(w.Context(), bson.D{{Key: "profile", Value: 0}}).Err(); err != nil {
		w.Fatal(err)
	}
	cursor, err := w.db.Collection("system.profile").Find(w.Context(), bson.D{{Key: "ns", Value: w.outbox.Database().Name() + ".outbox"}, {Key: "appName", Value: "outboxd"}, {Key: "op", Value: bson.D{{Key: "$in", Value: bson.A{"query", "update", "command"}}}}})
	if err != nil {
		w.Fatal(err)
	}
	plans := map[string]int{}
	for cursor.Next(w.Context()) {
		plan, _ := cursor.Current.Lookup("planSummary").StringValueOK()
		sorted, _ := cursor.Current.Lookup("hasSortStage").BooleanOK()
		plans[plan]++
		if strings.Contains(plan, "COLLSCAN") || sorted {
			w.Errorf("the worker's command ran as %q, sorted: %v: %.500s", plan, sorted, cursor.Current.Lookup("command"))
		}
	}
	if err := cursor.Err(); err != nil {
		w.Fatal(err)
	}
	w.Logf("the worker's commands ran as %v", plans)
	if plans["IXSCAN { kind: 1, priority: 1, due_at: 1, _id: 1 }"] == 0 {
		w.Error("no claim was noted")
	}
}

// listed checks that every way of looking at dead letters shows them all, whatever is in them.
func (w *world) listed() {
	w.Helper()
	dead := w.count(bson.D{{Key: "status", Value: "dead"}})
	for _, args := range [][]string{{"dead", "list", "--json"}, {"dead", "export"}} {
		out := runProgram(w, w.environment(), "outboxd", args...)
		lines := bytes.Split(bytes.TrimSuffix([]byte(out), []byte("\n")), []byte("\n"))
		for _, line := range lines {
			if !json.Valid(line) {
				w.Errorf("%v prints what is no JSON: %.300s", args, line)
			}
		}
		if len(lines) != dead {
			w.Errorf("%v prints %d lines of %d", args, len(lines), dead)
		}
	}
	for _, args := range [][]string{{"dead", "list", "--limit=100000"}, {"stats"}, {"stats", "--json"}, {"lane", "list"}} {
		out := runProgram(w, w.environment(), "outboxd", args...)
		clean := utf8.ValidString(out) && !strings.ContainsAny(out, "\x00\x1b\x7f")
		if !clean {
			w.Errorf("%v prints what is no text", args)
		}
		if args[0] == "dead" && strings.Count(out, "\n") != dead+1 {
			w.Errorf("%v prints %d lines of %d", args, strings.Count(out, "\n"), dead)
		}
		if args[0] != "stats" && strings.Contains(out, canary) { // which counts by kind, whatever that is
			w.Errorf("%v shows a document's value", args)
		}
	}
	shown := map[string]*process{}
	for _, name := range []string{"10000 fields", "documents in documents", "no UTF-8", "text with NUL", "the last date", "a pointer", "code with scope"} {
		shown[name] = start(w, w.environment(), "outboxd", "dead", "show", "v = "+name)
	}
	for name, p := range shown {
		if p.succeed(); p.out.String() == "" {
			w.Errorf("dead show prints nothing of %s", name)
		}
	}
}
