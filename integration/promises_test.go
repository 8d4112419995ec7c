package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// The tests of the promises are in promises_*_test.go, one file a promise. What they share is here.

const (
	// atOnce is within what time something happens for which nothing has to be waited.
	atOnce = 2 * time.Second
	// neighbourly is within what time 99 of 100 intents are done that stand beside one in trouble.
	neighbourly = time.Second
)

// with returns the intent with more fields.
func with(doc bson.M, more bson.M) bson.M {
	maps.Copy(doc, more)
	return doc
}

// paying returns the charge with other fields in its payload.
func paying(doc bson.M, more bson.M) bson.M {
	maps.Copy(doc["payload"].(bson.M), more)
	return doc
}

// business writes business documents.
func (w *world) business(docs ...any) {
	w.Helper()
	if _, err := w.db.Collection("orders").InsertMany(w.Context(), docs); err != nil {
		w.Fatalf("insert business documents: %v", err)
	}
}

// order reads a business document.
func (w *world) order(id any) bson.M {
	w.Helper()
	var doc bson.M
	if err := w.db.Collection("orders").FindOne(w.Context(), bson.D{{Key: "_id", Value: id}}).Decode(&doc); err != nil {
		w.Fatalf("read the business document %v: %v", id, err)
	}
	return doc
}

// set changes an intent as a person with a shell does, and returns the database's refusal.
func (w *world) set(id any, set bson.M, unset ...string) error {
	w.Helper()
	update := bson.D{{Key: "$set", Value: set}}
	if len(unset) > 0 {
		gone := bson.M{}
		for _, name := range unset {
			gone[name] = ""
		}
		update = append(update, bson.E{Key: "$unset", Value: gone})
	}
	result, err := w.outbox.UpdateOne(w.Context(), bson.D{{Key: "_id", Value: id}}, update)
	if err == nil && result.MatchedCount != 1 {
		w.Fatalf("change the intent %v: it is not there", id)
	}
	return err
}

// refused reports whether the error is the validator's.
func refused(err error) bool {
	server, ok := errors.AsType[mongo.ServerError](err)
	return ok && server.HasErrorCode(121)
}

// lane changes the shared state of a lane, as a person or another worker does.
func (w *world) lane(kind string, set bson.M) {
	w.Helper()
	if _, err := w.db.Collection("outbox_lanes").UpdateOne(w.Context(), bson.D{{Key: "_id", Value: kind}}, bson.D{{Key: "$set", Value: set}}, options.UpdateOne().SetUpsert(true)); err != nil {
		w.Fatalf("change the lane %s: %v", kind, err)
	}
}

// waitFor waits until so many intents fit.
func (w *world) waitFor(what string, count int, filter bson.D) {
	w.Helper()
	eventually(w, what, func() bool { return w.count(filter) == count })
}

// transaction holds what do writes in a transaction, until the function that it returns ends it.
func (w *world) transaction(do func(ctx context.Context) error) (end func(commit bool)) {
	w.Helper()
	session, err := w.db.Client().StartSession()
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { session.EndSession(context.Background()) })
	if err := session.StartTransaction(); err != nil {
		w.Fatal(err)
	}
	if err := do(mongo.NewSessionContext(w.Context(), session)); err != nil {
		w.Fatalf("write in a transaction: %v", err)
	}
	return func(commit bool) {
		w.Helper()
		finish := session.AbortTransaction
		if commit {
			finish = session.CommitTransaction
		}
		if err := finish(w.Context()); err != nil {
			w.Fatalf("end a transaction: %v", err)
		}
	}
}

// neighbours inserts an intent now and then until the function that it returns is called. That waits until all of
// them are done, and returns how long each took, the quickest first.
func (w *world) neighbours(every time.Duration, next func(id string) bson.M) (stop func() []time.Duration) {
	w.Helper()
	prefix := "near-" + bson.NewObjectID().Hex()[18:] + "-"
	ctx, cancel := context.WithCancel(w.Context())
	var running sync.WaitGroup
	count, failed := 0, error(nil)
	running.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if _, err := w.outbox.InsertOne(ctx, with(next(prefix+strconv.Itoa(count)), bson.M{"created_at": time.Now()})); err != nil {
				if ctx.Err() == nil {
					failed = err
				}
				return
			}
			count++
		}
	})
	w.Cleanup(func() { cancel(); running.Wait() })
	return func() []time.Duration {
		w.Helper()
		cancel()
		running.Wait()
		if failed != nil {
			w.Fatalf("insert a neighbour: %v", failed)
		}
		all := bson.D{{Key: "_id", Value: bson.Regex{Pattern: "^" + prefix}}}
		eventually(w, "every neighbour is done", func() bool {
			return w.count(append(all, bson.E{Key: "status", Value: "done"})) == w.count(all)
		})
		cursor, err := w.outbox.Find(w.Context(), all)
		if err != nil {
			w.Fatal(err)
		}
		var docs []struct {
			CreatedAt time.Time `bson:"created_at"`
			DoneAt    time.Time `bson:"done_at"`
		}
		if err := cursor.All(w.Context(), &docs); err != nil {
			w.Fatal(err)
		}
		took := make([]time.Duration, len(docs))
		for i, d := range docs {
			took[i] = d.DoneAt.Sub(d.CreatedAt)
		}
		slices.Sort(took)
		if len(took) == 0 {
			w.Fatal("there was no neighbour")
		}
		return took
	}
}

// undisturbed checks that neighbours were done in time.
func (w *world) undisturbed(took []time.Duration) {
	w.Helper()
	w.within(neighbourly, took)
}

// within is undisturbed with another bound.
func (w *world) within(most time.Duration, took []time.Duration) {
	w.Helper()
	late := took[len(took)*99/100]
	w.Logf("%d neighbours: half of them were done within %v, 99 of 100 within %v, the last within %v", len(took), took[len(took)/2], late, took[len(took)-1])
	if raceEnabled {
		most *= 10 // the detector takes most of the processor; the bound itself is measured without it
	}
	if late > most {
		w.Errorf("99 of 100 neighbours were done within %v, want %v", late, most)
	}
}

// peak returns the most memory that a process has taken, in bytes; 0 where the system does not tell.
func (w *world) peak(p *process) int {
	w.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if errors.Is(err, os.ErrNotExist) {
		return 0
	}
	found := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	if err != nil || found == nil {
		w.Fatalf("read how much memory the worker took: %v", err)
	}
	kB, err := strconv.Atoi(string(found[1]))
	if err != nil {
		w.Fatal(err)
	}
	return kB << 10
}

// try runs a program to its end and returns its exit code and all that it printed.
func (w *world) try(more []string, args ...string) (code int, text string) {
	w.Helper()
	p := start(w, append(w.environment(), more...), "outboxd", args...)
	code = p.code()
	return code, p.out.String() + p.errOut.String()
}

// logged counts the lines that a process printed and that have all of the texts.
func logged(p *process, texts ...string) int {
	n := 0
	for line := range strings.Lines(p.errOut.String()) {
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
			n++
		}
	}
	return n
}

// serve runs an HTTP server of the test's own.
func serve(tb testing.TB, handle http.HandlerFunc) string {
	tb.Helper()
	server := httptest.NewServer(handle)
	tb.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server.URL
}

// forward passes a request on to another server, whether or not its sender still waits, and its answer back.
func forward(to string, w http.ResponseWriter, r *http.Request, body []byte) {
	req, err := http.NewRequest(r.Method, to+r.URL.RequestURI(), strings.NewReader(string(body)))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	req.Header = r.Header.Clone()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	resp, err := client.Do(req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	maps.Copy(w.Header(), resp.Header)
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, resp.Body) // its sender may be gone
}
