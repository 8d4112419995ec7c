//go:build chaos

package main

import (
	"encoding/json"
	"net/http"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/integration/chaos/check"
	"github.com/outboxd/outboxd/integration/mongodb"
	"github.com/outboxd/outboxd/internal/timing"
)

// Without a majority a worker keeps what the provider did in memory, claims nothing, says that it is not ready, and
// writes what it kept when the majority is back. No intent is sent again for it.
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
	if err := timing.Sleep(t.Context(), time.Until(gone.Add(away))); err != nil {
		t.Fatal(err)
	}
	grown := t.memory(w) - before
	if grown > memoryBound {
		t.Errorf("the worker's memory grew by %d bytes while the database was away", grown)
	}
	back := time.Now()
	if err := startAll(t.Context(), killed); err != nil {
		t.Fatal(err)
	}
	t.eventually("the worker is ready again", func() bool { code, _ := t.get(w, "/readyz"); return code == http.StatusOK })
	t.ask(http.MethodPost, "settings", nil, map[string]string{"latency": "0s"})
	t.allDone(intents)
	t.once(intents)
	kept := t.claimedBefore(gone, back)
	t.oneAttempt()
	t.Logf("%d outcomes were kept while there was no majority for %v; memory grew by %d KiB",
		kept, back.Sub(gone).Round(time.Millisecond), grown>>10)
	if kept == 0 {
		t.Error("nothing was under way when the majority went, which proves nothing")
	}
	if err := w.end("term"); err != nil || w.code != 0 {
		t.Errorf("the worker ended with %d, %v", w.code, err)
	}
}

// claimedBefore checks that whatever was sent between two instants had been claimed before the first, however long it
// took, and returns how much that was.
func (t trouble) claimedBefore(gone, back time.Time) (count int) {
	t.Helper()
	docs := make(map[string]check.Doc)
	for _, d := range t.find(bson.D{}) {
		docs[d.ID] = d
	}
	for _, e := range t.sent() {
		if e.At.Before(gone) || e.At.After(back) {
			continue
		}
		count++
		var claimed time.Time // the claim under which it was sent
		for _, r := range docs[idOf(e)].History {
			if !r.At.After(e.At) {
				claimed = r.At
			}
		}
		if claimed.After(gone) {
			t.Errorf("%s was sent while there was no majority, under a claim %v after that was gone", idOf(e), claimed.Sub(gone))
		}
	}
	return count
}
