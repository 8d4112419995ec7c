package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/providers/simulator"
	"github.com/outboxd/outboxd/store"
)

// letters inserts n dead texts that a retry may send.
func (w *world) letters(t *testing.T, n int) {
	t.Helper()
	docs := make([]bson.D, n)
	died := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	for i := range docs {
		docs[i] = deadLetter(fmt.Sprintf("letter-%04d", i), "sms", "exhausted", "unavailable", died.Add(time.Duration(i)*time.Millisecond))
	}
	for _, doc := range docs {
		w.insertPastValidator(t, doc)
	}
}

// eventually waits until the condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	within(t, patience, what, holds)
}

// within waits no longer than limit until the condition holds.
func within(t *testing.T, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	deadline, tick := time.NewTimer(limit), time.NewTicker(5*time.Millisecond)
	defer deadline.Stop()
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// started plans a job over all dead texts, and starts it.
func (d *adminProcess) started(t *testing.T, more string) string {
	t.Helper()
	plan := d.call(t, "POST", "/api/v1/jobs", `{"op":"retry","filter":{"kind":"sms"},"why":"the provider works again"`+more+`}`).want(t, 201)
	id := fmt.Sprint(plan.field("id"))
	d.call(t, "POST", "/api/v1/jobs/"+id+"/start", "").want(t, 200)
	return id
}

// A job whose process is killed is gone on with by another, and no letter is retried twice. The texts arrive once each.
func TestAdminKilledInTheMiddleOfAJob(t *testing.T) {
	w := newWorld(t)
	const n = 600
	w.letters(t, n)
	one := w.admin(t, "")
	id := one.started(t, `,"ramp":[]`)
	eventually(t, "some letters are retried", func() bool { return w.count(t, bson.D{{Key: "status", Value: "pending"}}) > 20 })
	one.signal(t, syscall.SIGKILL)
	one.end(t)
	before := w.count(t, bson.D{{Key: "status", Value: "pending"}})
	if before >= n {
		t.Fatal("the job was over before its process was killed")
	}
	two := w.admin(t, "")
	job := "/api/v1/jobs/" + id
	eventually(t, "the other process ends the job", func() bool { return two.call(t, "GET", job, "").want(t, 200).field("state") == "done" })
	t.Logf("killed after %d of %d letters", before, n)

	cursor, err := w.outbox().Find(t.Context(), bson.D{})
	if err != nil {
		t.Fatal(err)
	}
	var docs []struct {
		ID      string `bson:"_id"`
		Status  string
		Retried struct{ N int }
		History []struct{ What, Job string }
	}
	if err := cursor.All(t.Context(), &docs); err != nil {
		t.Fatal(err)
	}
	for _, doc := range docs {
		retries := 0
		for _, r := range doc.History {
			if r.What == "retry" && r.Job == id {
				retries++
			}
		}
		if doc.Status != "pending" || doc.Retried.N != 1 || retries != 1 {
			t.Errorf("%s is %s, retried %d times, %d of them recorded", doc.ID, doc.Status, doc.Retried.N, retries)
		}
		done, err := w.db.Collection("outbox_audit").CountDocuments(t.Context(), bson.D{{Key: "on", Value: doc.ID}, {Key: "job", Value: id}, {Key: "outcome", Value: "done"}})
		if done != 1 || err != nil {
			t.Errorf("%s has %d records that it was done: %v", doc.ID, done, err)
		}
	}
	if open, err := w.db.Collection("outbox_audit").CountDocuments(t.Context(), bson.D{{Key: "outcome", Value: "begun"}}); open != 0 || err != nil {
		t.Errorf("%d records tell of no end: %v", open, err)
	}
	if went := two.call(t, "GET", job, "").field("counts.went"); went != float64(n) {
		t.Errorf("the job says that %v went", went)
	}
	must(t, exitDone, append(w.env, "TWILIO_CALLBACK_URL=https://hooks.example/twilio"), "worker", "--until-empty", "--kinds", "sms")
	sent := make(map[string]int)
	for _, e := range w.sim.Sim.Effects() {
		sent[e.OutboxID]++
	}
	if len(sent) != n {
		t.Errorf("%d of %d texts were sent", len(sent), n)
	}
	for id, times := range sent {
		if times != 1 {
			t.Errorf("%s was sent %d times", id, times)
		}
	}
}

// At SIGTERM streams end, a job is given back at once, and another process goes on with it without waiting for a lease.
func TestAdminDrains(t *testing.T) {
	w := newWorld(t)
	w.letters(t, 300)
	one := w.admin(t, "")
	stream := one.listen(t, "")
	id := one.started(t, `,"ramp":[],"rate":20`)
	eventually(t, "some letters are retried", func() bool { return w.count(t, bson.D{{Key: "status", Value: "pending"}}) > 0 })
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(one.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const body = `{"why":"a request that is under way"}`
	answers := bufio.NewReader(conn)
	fmt.Fprintf(conn, "POST /api/v1/lanes/sms/pause HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", len(body))
	if line, err := answers.ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") { // it reads the body now
		t.Fatalf("%s %v", line, err)
	}
	one.signal(t, syscall.SIGTERM)
	stream.await(t, "end")
	if _, err := answers.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, body)
	if resp, err := http.ReadResponse(answers, nil); err != nil || resp.StatusCode != 200 {
		t.Errorf("a request that was under way: %v %v", resp, err)
	}
	if code := one.end(t); code != exitDone {
		t.Fatalf("exit code %d\n%s", code, one.log)
	}
	var job struct {
		State string
		Lease struct{ Owner string }
	}
	if err := w.db.Collection("outbox_jobs").FindOne(t.Context(), bson.D{{Key: "_id", Value: id}}).Decode(&job); err != nil || job.State != "running" || job.Lease.Owner != "" {
		t.Errorf("the job is %+v, %v", job, err)
	}
	if open, err := w.db.Collection("outbox_audit").CountDocuments(t.Context(), bson.D{{Key: "outcome", Value: "begun"}}); open != 0 || err != nil {
		t.Errorf("%d records tell of no end: %v", open, err)
	}
	if line := one.log.await(t, "stopped", 1); line == nil {
		t.Error("it does not say that it stopped")
	}
}

// sse is a stream of events.
type sse struct{ events chan string }

// listen opens a stream, and returns once it is open.
func (d *adminProcess) listen(t *testing.T, query string) *sse {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url+"/api/v1/events"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("the stream: %d %v", resp.StatusCode, resp.Header)
	}
	s := &sse{events: make(chan string, 100)}
	go func() {
		defer close(s.events)
		defer resp.Body.Close()
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			if event, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
				lines.Scan()
				s.events <- event + " " + strings.TrimPrefix(lines.Text(), "data: ")
			}
		}
	}()
	return s
}

// await returns the next event of that name.
func (s *sse) await(t *testing.T, name string) string {
	t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		select {
		case e, open := <-s.events:
			if !open {
				t.Fatalf("the stream ended before the event %s", name)
			}
			if strings.HasPrefix(e, name+" ") {
				return e
			}
		case <-late.C:
			t.Fatalf("no event %s", name)
		}
	}
}

// A page hears of what changed in the database, whoever changed it.
func TestAdminTellsWhatChanged(t *testing.T) {
	w := newWorld(t)
	w.insert(t, intent("sms", "one"))
	d := w.admin(t, "")
	stream := d.listen(t, "?intent="+inPath("one"))
	d.log.await(t, "looked for changes", 1) // from now on a change is one
	if _, err := w.outbox().UpdateOne(t.Context(), bson.D{{Key: "_id", Value: "one"}}, bson.D{{Key: "$set", Value: bson.D{{Key: "priority", Value: 2}}}}); err != nil {
		t.Fatal(err)
	}
	if got, want := stream.await(t, "intent"), `intent {"id":"`+inPath("one")+`"}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	must(t, exitDone, w.env, "lane", "pause", "sms", "--why", "a test")
	stream.await(t, "lanes")
	if _, err := store.New(w.db, "", store.Options{}).TakeCensus(t.Context(), "test", []string{"sms"}); err != nil {
		t.Fatal(err)
	}
	stream.await(t, "census")
	for range 4 { // and with the first one five, which is all that one person may have
		d.listen(t, "")
	}
	d.call(t, "GET", "/api/v1/events", "").want(t, 429)
	d.call(t, "GET", "/api/v1/events?intent="+inPath("gone"), "").want(t, 422)
}

// The same change sent twice is made once, at whichever process; a key belongs to one change.
func TestAdminIdempotencyKey(t *testing.T) {
	w := newWorld(t)
	w.letters(t, 1)
	one, two := w.admin(t, ""), w.admin(t, "")
	const key = "Idempotency-Key: 7d1c"
	body := `{"op":"retry","filter":{"kind":"sms"},"why":"again"}`
	first := one.call(t, "POST", "/api/v1/jobs", body, key).want(t, 201)
	again := two.call(t, "POST", "/api/v1/jobs", body, key).want(t, 201)
	if first.body != again.body || again.header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("another answer:\n%s\n%s", first.body, again.body)
	}
	if n, err := w.db.Collection("outbox_jobs").CountDocuments(t.Context(), bson.D{}); n != 1 || err != nil {
		t.Errorf("%d jobs, %v", n, err)
	}
	two.call(t, "POST", "/api/v1/jobs", strings.Replace(body, "again", "other", 1), key).want(t, 409)
	retry := "/api/v1/intents/" + inPath("letter-0000") + "/retry"
	one.call(t, "POST", retry, `{"why":"x"}`, key).want(t, 200)
	two.call(t, "POST", retry, `{"why":"x"}`, key).want(t, 200)
	two.call(t, "POST", retry, `{"why":"x"}`, "Idempotency-Key: other").want(t, 422) // it is not dead any more
	if got := w.get(t, "letter-0000").Lookup("retried", "n").AsInt64(); got != 1 {
		t.Errorf("retried %d times", got)
	}
}

// An export has every row, once, on any number of pages.
func TestAdminExport(t *testing.T) {
	w := newWorld(t)
	w.letters(t, 1201)
	d := w.admin(t, "")
	r := d.call(t, "GET", "/api/v1/intents?kind=sms&status=dead&format=ndjson", "").want(t, 200)
	seen := make(map[any]bool)
	for _, row := range objects(t, r.body) {
		seen[row["name"]] = true
		if row["payload"] != nil || row["id"] == nil {
			t.Fatalf("a row: %v", row)
		}
	}
	if len(seen) != 1201 || r.header.Get("Content-Type") != "application/x-ndjson" || strings.Contains(r.body, "4915112345678") {
		t.Errorf("%d rows, %s", len(seen), r.header)
	}
	d.call(t, "GET", "/api/v1/intents?format=xml", "").want(t, 400)
	d.call(t, "POST", "/api/v1/lanes/sms/pause", `{"why":"x"}`).want(t, 200)
	if acts := objects(t, d.call(t, "GET", "/api/v1/audit?format=ndjson", "").want(t, 200).body); len(acts) != 1 || acts[0]["op"] != "pause" {
		t.Errorf("the audit: %v", acts)
	}
}

// To ask is harmless: a worker's look-up would cancel the PaymentIntent that is not confirmed yet, a person's does not.
func TestAdminAsksWithoutChanging(t *testing.T) {
	w := newWorld(t)
	w.fault(t, simulator.Fault{Provider: simulator.ProviderStripe, Route: "confirm", When: simulator.Before, Do: simulator.DoReset, Match: simulator.Match{Times: 1}})
	w.insert(t, intent("charge", "open"))
	worker := start(t, w.env, "--kinds", "charge")
	worker.log.await(t, "settled", 1)
	worker.stop()
	worker.end(t)
	if w.get(t, "open").Lookup("progress", "payment_intent").StringValue() == "" {
		t.Fatal("no PaymentIntent is stored")
	}
	d := w.admin(t, "")
	evidence := "/api/v1/intents/" + inPath("open") + "/evidence"
	for range 2 { // if the first had cancelled it, the second would see that
		if r := d.call(t, "GET", evidence, "").want(t, 200); r.field("found") != false || !strings.Contains(fmt.Sprint(r.field("text")), "unfinished object") {
			t.Errorf("the evidence: %s", r.body)
		}
	}
	must(t, exitDone, w.env, "worker", "--until-empty", "--kinds", "charge", "--within", "1h")
	if status := text(w.get(t, "open"), "status"); status != "done" {
		t.Errorf("afterwards the charge is %s", status)
	}
	if r := d.call(t, "GET", evidence, "").want(t, 200); r.field("found") != true {
		t.Errorf("the evidence of a charge that was made: %s", r.body)
	}
}

// A person asks the provider for evidence, and without keys the answer says so.
func TestAdminAsksTheProvider(t *testing.T) {
	w := newWorld(t)
	w.insert(t, intent("sms", "sent"))
	must(t, exitDone, w.env, "worker", "--until-empty", "--kinds", "sms")
	effects := len(w.sim.Sim.Effects())
	d := w.admin(t, "")
	r := d.call(t, "GET", "/api/v1/intents/"+inPath("sent")+"/evidence", "").want(t, 200)
	if r.field("found") != true || r.field("provider") != "twilio" {
		t.Errorf("the evidence: %s", r.body)
	}
	if n := len(w.sim.Sim.Effects()); n != effects {
		t.Errorf("%d effects, before %d", n, effects)
	}
	w.env = w.env[:3]
	d = w.admin(t, "")
	if r := d.call(t, "GET", "/api/v1/intents/"+inPath("sent")+"/evidence", "").want(t, 422); r.field("error.code") != "provider_unknown" {
		t.Errorf("without keys: %s", r.body)
	}
}
