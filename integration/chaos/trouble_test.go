//go:build chaos

package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/integration/chaos/check"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers/simulator"
)

const (
	patience    = 3 * time.Minute        // for what should happen within moments
	lookEvery   = 20 * time.Millisecond  // how often it is looked whether it has
	memoryBound = 64 << 20               // by how much a worker may grow while it waits for the database
	progressBar = 3 * time.Second        // by how much progress may lag behind the database's own election
	away        = 13 * time.Second       // how long there is no majority: longer than the worker waits for a primary in one operation
	slowCall    = 300 * time.Millisecond // of the provider, so that calls are under way when something happens
	steadyEvery = 25 * time.Millisecond  // of intents that become due
	lanes       = 8                      // calls at once in each lane
)

// patient returns a configuration under which no lease runs out while the database is away, and no call takes too long
// because the machine is busy with other things.
func patient() string {
	const lane = "{concurrency: %d, rate: 100000/s, timeout: 30s, lease: 120s, retry: {base: 50ms, max: 500ms}}"
	each := fmt.Sprintf(lane, lanes)
	return "lanes: {charge: " + each + ", email: " + each + ", sms: " + each + "}\nwrite_back: {collections: [" + orders + "]}\n"
}

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
			if err := os.WriteFile(s.policies(), []byte(patient()), 0o600); err != nil {
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
	if err := t.write(documents(0, count, due, apart)); err != nil {
		t.Fatal(err)
	}
}

// write writes each document once. On a busy machine members may elect another primary at any time, so it tries again.
func (t trouble) write(docs []mongo.WriteModel) (err error) {
	within(patience, func() bool {
		_, err = t.db.Collection(collection).BulkWrite(t.Context(), docs, options.BulkWrite().SetOrdered(false))
		return err == nil || t.Context().Err() != nil
	})
	return err
}

// documents are intents of all kinds in turn, numbered from first on.
func documents(first, count int, due time.Time, apart time.Duration) []mongo.WriteModel {
	docs := make([]mongo.WriteModel, count)
	for i := range docs {
		n := first + i
		kind := []string{outbox.KindCharge, outbox.KindEmail, outbox.KindSMS}[n%3]
		id := kind + "-" + strconv.Itoa(n)
		doc := bson.D{{Key: "kind", Value: kind}, {Key: "status", Value: "pending"},
			{Key: "due_at", Value: due.Add(time.Duration(i) * apart)}, {Key: "payload", Value: payload(kind, id, id, false)}}
		docs[i] = mongo.NewUpdateOneModel().SetFilter(bson.D{{Key: "_id", Value: id}}).SetUpdate(bson.D{{Key: "$setOnInsert", Value: doc}}).SetUpsert(true)
	}
	return docs
}

func (t trouble) eventually(what string, condition func() bool) {
	t.Helper()
	if !within(patience, condition) {
		t.dead()
		t.Fatalf("it did not happen within %v: %s; pending %d, leased %d, done %d, dead %d", patience, what,
			t.status("pending"), t.status("leased"), t.status("done"), t.status("dead"))
	}
}

// within asks again and again until the condition holds, which it returns, or the time is over.
func within(patience time.Duration, condition func() bool) bool {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline.C:
			return false
		}
	}
	return true
}

// allDone waits until all intents have ended and says which did not end as done.
func (t trouble) allDone(intents int) {
	t.Helper()
	t.eventually("all have ended", func() bool { return t.status("done")+t.status("dead") == intents })
	t.dead()
}

// dead says which intents are dead letters, and why.
func (t trouble) dead() {
	t.Helper()
	for _, d := range t.find(bson.D{{Key: "status", Value: "dead"}}) {
		t.Errorf("%s is dead (%s): %+v, history %+v", d.ID, d.DeadReason, d.LastError, d.History)
	}
}

// find reads intents.
func (t trouble) find(filter bson.D) []check.Doc {
	t.Helper()
	cursor, err := t.db.Collection(collection).Find(t.Context(), filter)
	var list []check.Doc
	if err == nil {
		err = cursor.All(t.Context(), &list)
	}
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// oneAttempt checks that no intent took more than one attempt.
func (t trouble) oneAttempt() {
	t.Helper()
	for _, d := range t.find(bson.D{{Key: "attempts", Value: bson.D{{Key: "$ne", Value: 1}}}}) {
		t.Errorf("%s took %d attempts: %+v", d.ID, d.Attempts, d.History)
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

// sent returns the effects so far, in their order.
func (t trouble) sent() []simulator.Effect {
	t.Helper()
	list, err := t.effects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// idOf returns the intent that an effect is of.
func idOf(e simulator.Effect) string {
	if e.OutboxID != "" {
		return e.OutboxID
	}
	return strings.TrimPrefix(e.Body, check.TextPrefix)
}

// once checks that each intent that is done had one effect, and no other had any.
func (t trouble) once(done int) {
	t.Helper()
	list := t.sent()
	count := make(map[string]int)
	for _, e := range list {
		count[idOf(e)]++
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
