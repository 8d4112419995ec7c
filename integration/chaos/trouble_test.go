//go:build chaos

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/integration/mongodb"
	"github.com/outboxd/outboxd/outbox"
)

const (
	patience    = time.Minute            // for what should happen within moments
	lookEvery   = 20 * time.Millisecond  // how often it is looked whether it has
	memoryBound = 64 << 20               // by how much a worker may grow while it waits for the database
	progressBar = 3 * time.Second        // by how much progress may lag behind the database's own election
	away        = 8 * time.Second        // how long there is no majority
	slowCall    = 300 * time.Millisecond // of the provider, so that calls are under way when something happens
	steadyEvery = 25 * time.Millisecond  // of intents that become due
)

// patient is a configuration under which no lease runs out while the database is away.
const patient = `lanes:
  charge: {concurrency: 8, rate: 100000/s, timeout: 5s, lease: 60s, retry: {base: 50ms, max: 500ms}}
  email: {concurrency: 8, timeout: 5s, lease: 60s, retry: {base: 50ms, max: 500ms}}
  sms: {concurrency: 8, timeout: 5s, lease: 60s, retry: {base: 50ms, max: 500ms}}
write_back: {collections: [orders]}
`

// trouble is a stage for one test.
type trouble struct {
	*testing.T
	*stage
}

// What workers do when the database or they themselves go away, each told alone, on one replica set of three.
func TestTrouble(t *testing.T) {
	s, err := setStage(t.Context(), t.TempDir(), "", false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.clear(); err != nil {
			t.Error(err)
		}
	})
	for _, c := range []struct {
		name string
		test func(trouble)
	}{
		{"no majority", testNoMajority},
		{"drain under load", testDrain},
		{"rolling restart", testRollingRestart},
		{"a primary dies", testPrimaryDies},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := s.newDatabase(t.Context()); err != nil {
				t.Fatal(err)
			}
			tr := trouble{t, s}
			tr.ask(http.MethodPost, "reset", nil)
			if err := os.WriteFile(s.policies(), []byte(patient), 0o600); err != nil {
				t.Fatal(err)
			}
			c.test(tr)
		})
	}
}

func (t trouble) ask(method, path string, answer any, body ...any) {
	t.Helper()
	var send any
	if len(body) > 0 {
		send = body[0]
	}
	if err := t.control(t.Context(), method, path, send, answer); err != nil {
		t.Fatal(err)
	}
}

// worker starts one and waits until it serves. It ends with the test if it has not before.
func (t trouble) worker(sl *slot) *worker {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	w, err := sl.start()
	if err == nil {
		err = w.awaitServing(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (t trouble) slot(n int) *slot {
	t.Helper()
	sl, err := t.newSlot(n, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sl.close(); err != nil {
			t.Error(err)
		}
	})
	return sl
}

// insert writes intents of all kinds, due one after another.
func (t trouble) insert(count int, due time.Time, apart time.Duration) {
	t.Helper()
	docs := make([]any, count)
	for n := range docs {
		kind := []string{outbox.KindCharge, outbox.KindEmail, outbox.KindSMS}[n%3]
		id := kind + "-" + strconv.Itoa(n)
		docs[n] = bson.D{{Key: "_id", Value: id}, {Key: "kind", Value: kind}, {Key: "status", Value: "pending"},
			{Key: "due_at", Value: due.Add(time.Duration(n) * apart)}, {Key: "payload", Value: payload(kind, id, id, false)}}
	}
	if _, err := t.db.Collection(collection).InsertMany(t.Context(), docs); err != nil {
		t.Fatal(err)
	}
}

func (t trouble) eventually(what string, condition func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("it did not happen within %v: %s; pending %d, leased %d, done %d, dead %d", patience, what,
				t.status("pending"), t.status("leased"), t.status("done"), t.status("dead"))
		}
	}
}

// count counts intents; -1 where the database does not answer.
func (t trouble) count(filter bson.D) int {
	n, err := t.db.Collection(collection).CountDocuments(t.Context(), filter)
	if err != nil {
		return -1
	}
	return int(n)
}

func (t trouble) status(status string) int { return t.count(bson.D{{Key: "status", Value: status}}) }

func (t trouble) effectTimes() []time.Time {
	t.Helper()
	list, err := t.effects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	times := make([]time.Time, len(list))
	for i, e := range list {
		times[i] = e.At
	}
	return times
}

// once checks that each intent that is done had one effect, and no other had any.
func (t trouble) once(done int) {
	t.Helper()
	list, err := t.effects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	count := make(map[string]int)
	for _, e := range list {
		count[e.OutboxID+e.Body]++
	}
	for id, n := range count {
		if n != 1 {
			t.Errorf("%s had %d effects", id, n)
		}
	}
	if len(list) != done {
		t.Errorf("%d effects of %d intents that are done", len(list), done)
	}
}

// get asks the worker's health and metrics.
func (t trouble) get(w *worker, path string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+w.listen+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := t.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// memory is what a worker has from the system, by its own metrics.
func (t trouble) memory(w *worker) int64 {
	t.Helper()
	_, text := t.get(w, "/metrics")
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, "go_memstats_heap_sys_bytes "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatal(err)
			}
			return int64(n)
		}
	}
	t.Fatal("the worker does not tell how much memory it has")
	return 0
}

// Without a majority a worker keeps what the provider did in memory, claims nothing, says that it is not ready, and writes
// what it kept when the majority is back. No intent is sent again for it.
func testNoMajority(t trouble) {
	const intents = 900
	t.ask(http.MethodPost, "settings", nil, map[string]string{"latency": slowCall.String()})
	t.insert(intents, time.Now(), 0)
	w := t.worker(t.slot(0))
	t.eventually("some intents are done", func() bool { return t.status("done") > 0 })
	before := t.memory(w)

	primary, err := t.set.Primary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var killed []*mongodb.Member
	for _, m := range t.set.Members {
		if m != primary {
			killed = append(killed, m)
			if err := m.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	gone := time.Now()
	t.eventually("the worker says that it is not ready", func() bool {
		code, text := t.get(w, "/readyz")
		var answer struct {
			Ready   bool
			Reasons []string
		}
		if err := json.Unmarshal([]byte(text), &answer); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		return code == http.StatusServiceUnavailable && !answer.Ready && len(answer.Reasons) > 0
	})
	if code, _ := t.get(w, "/healthz"); code != http.StatusOK {
		t.Errorf("/healthz is %d while the database is away", code)
	}
	// What had been claimed is sent, and then nothing more is.
	<-time.After(time.Until(gone.Add(away / 2)))
	sent := len(t.effectTimes())
	<-time.After(time.Until(gone.Add(away)))
	if more := len(t.effectTimes()); more != sent {
		t.Errorf("%d intents were sent while nothing could be claimed", more-sent)
	}
	if grown := t.memory(w) - before; grown > memoryBound {
		t.Errorf("the worker's memory grew by %d bytes while the database was away", grown)
	}
	if err := startAll(t.Context(), killed); err != nil {
		t.Fatal(err)
	}
	t.eventually("the worker is ready again", func() bool { code, _ := t.get(w, "/readyz"); return code == http.StatusOK })
	t.ask(http.MethodPost, "settings", nil, map[string]string{"latency": "0s"})
	t.eventually("all are done", func() bool { return t.status("done") == intents })
	if n := t.count(bson.D{{Key: "attempts", Value: bson.D{{Key: "$ne", Value: 1}}}}); n != 0 {
		t.Errorf("%d intents took more than one attempt", n)
	}
	t.once(intents)
	if err := w.end("term"); err != nil || w.code != 0 {
		t.Errorf("the worker ended with %d, %v", w.code, err)
	}
}

// A worker that is told to end under full load does so with 0, holds nothing afterwards, and nothing is sent twice.
func testDrain(t trouble) {
	const intents = 900
	t.ask(http.MethodPost, "settings", nil, map[string]string{"latency": slowCall.String()})
	t.insert(intents, time.Now(), 0)
	sl := t.slot(0)
	w := t.worker(sl)
	t.eventually("the worker is under full load", func() bool { return len(t.effectTimes()) > 50 })
	began := time.Now()
	if err := w.end("term"); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); w.code != 0 || took > drain {
		t.Errorf("the worker ended with %d after %v, want 0 within %v", w.code, took, drain)
	}
	done := t.status("done")
	if leased := t.status("leased"); leased != 0 || done >= intents {
		t.Errorf("%d intents are leased and %d done after the end of the only worker", leased, done)
	}
	t.once(done)
	t.ask(http.MethodPost, "settings", nil, map[string]string{"latency": "0s"})
	t.worker(sl)
	t.eventually("the next worker does the rest", func() bool { return t.status("done") == intents })
	if n := t.count(bson.D{{Key: "attempts", Value: bson.D{{Key: "$ne", Value: 1}}}}); n != 0 {
		t.Errorf("%d intents took more than one attempt", n)
	}
	t.once(intents)
}

// Three workers are restarted one after another under load: no lease runs out, and nothing is sent twice.
func testRollingRestart(t trouble) {
	const intents = 1500
	watching, err := t.watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer watching.stop()
	t.ask(http.MethodPost, "settings", nil, map[string]string{"latency": "50ms"})
	t.insert(intents, time.Now(), 5*time.Millisecond)
	var slots []*slot
	for n := range 3 {
		slots = append(slots, t.slot(n))
		t.worker(slots[n])
	}
	for _, sl := range slots {
		old := sl.current()
		if err := old.end("term"); err != nil || old.code != 0 {
			t.Errorf("a worker ended with %d, %v", old.code, err)
		}
		t.worker(sl)
	}
	if left := t.status("pending"); left == 0 {
		t.Error("all was done before the last restart, which proves nothing")
	}
	t.eventually("all are done", func() bool { return t.status("done") == intents })
	t.once(intents)
	changes, err := watching.observer.catchUp(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range changes {
		if c.After.Lease != nil && c.After.Lease.Reclaimed {
			t.Errorf("a lease on %s ran out", c.After.ID)
		}
	}
}

// A steady stream of intents becomes due while the primary is killed. The time without an effect is compared with the time in
// which a plain client cannot write.
func testPrimaryDies(t trouble) {
	const intents = 600 // for 15 seconds
	for n := range 2 {
		t.worker(t.slot(n))
	}
	p, err := newPulse(t.stage)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { p.run(ctx); close(ended) }()
	defer func() { cancel(); <-ended }()
	t.insert(intents, time.Now().Add(time.Second), steadyEvery)
	t.eventually("the stream flows", func() bool { return len(t.effectTimes()) > 60 })

	primary, err := t.set.Primary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	if err := primary.Kill(); err != nil {
		t.Fatal(err)
	}
	t.eventually("all are done", func() bool { return t.status("done") == intents })
	if err := primary.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.once(intents)
	// A charge stores its progress between two steps, which a failover may make it repeat; messages have no such step.
	if n := t.count(bson.D{{Key: "kind", Value: bson.D{{Key: "$ne", Value: outbox.KindCharge}}}, {Key: "attempts", Value: bson.D{{Key: "$ne", Value: 1}}}}); n != 0 {
		t.Errorf("the failover cost %d messages an attempt", n)
	}
	var database time.Duration
	for _, g := range p.outages() {
		database = max(database, g.To.Sub(g.From))
	}
	progress := longestGap(t.effectTimes(), killed.Add(-time.Second))
	t.Logf("a plain client could not write for %v; nothing was sent for %v", database.Round(time.Millisecond), progress.Round(time.Millisecond))
	if database == 0 || progress > database+progressBar {
		t.Errorf("nothing was sent for %v, and the database needed %v; want at most %v more", progress, database, progressBar)
	}
}

// longestGap is the longest time between two effects after an instant.
func longestGap(times []time.Time, after time.Time) (longest time.Duration) {
	last := after
	for _, at := range times {
		if at.After(last) {
			longest, last = max(longest, at.Sub(last)), at
		}
	}
	return longest
}

// A build whose clocks can be wrong shows the time that it is told, and its timers stay right.
func TestClocksAreWrong(t *testing.T) {
	dir := t.TempDir()
	program, err := build(t.Context(), dir, true)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]time.Duration{"": 0, "-180 -180 0": -3 * time.Minute, "240 0 1000": 4 * time.Minute} {
		lines := make(chan string, 100)
		p, err := startProcess(program, []string{"worker", "--log-format", "json", "--connect-timeout", "1s"}, environment(clockVariable+"="+text,
			"OUTBOXD_MONGODB_URI=mongodb://127.0.0.1:1/?replicaSet=none", "STRIPE_API_KEY=sk_test_clock", "OUTBOXD_LOG_LEVEL=debug"), dir+"/log", false, func(line string) { lines <- line })
		if err != nil {
			t.Fatal(err)
		}
		<-p.ended
		close(lines)
		if took := p.at.Sub(p.started); took < time.Second || took > patience {
			t.Errorf("it waited for %v", took)
		}
		found := false
		for line := range lines {
			var entry struct{ Time time.Time }
			if json.Unmarshal([]byte(line), &entry) != nil || entry.Time.IsZero() {
				continue
			}
			found = true
			if off := time.Until(entry.Time) - want; off.Abs() > 30*time.Second {
				t.Errorf("clock %q: a line of %v", text, entry.Time)
			}
		}
		if !found {
			t.Errorf("clock %q: no line tells the time", text)
		}
	}
}

// awaitServing returns once the worker serves.
func (w *worker) awaitServing(ctx context.Context) error {
	select {
	case <-w.serving:
		return nil
	case <-w.ended:
		return fmt.Errorf("a worker ended with exit code %d before it served", w.code)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
