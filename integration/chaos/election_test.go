//go:build chaos

package main

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"time"

	"github.com/outboxd/outboxd/integration/mongodb"
	"github.com/outboxd/outboxd/providers/simulator"
)

// A steady stream of intents becomes due while the primary is killed. The time without an effect is compared with the
// time in which a plain client cannot write, which is as long as the database needs, on this machine and in this run.
func testPrimaryDies(t trouble) {
	const intents = 400 // for ten seconds
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
	t.eventually("the stream flows", func() bool { return len(t.sent()) > 60 })

	primary, err := t.set.Primary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	if err := primary.Kill(); err != nil {
		t.Fatal(err)
	}
	t.allDone(intents)
	elected := t.elected(primary, killed)
	if err := primary.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.once(intents)
	t.oneAttempt()
	var plain time.Duration
	for _, g := range p.outages() {
		if g.Overlaps(killed, killed.Add(patience)) {
			plain = max(plain, g.To.Sub(g.From))
		}
	}
	progress := longestGap(t.sent(), killed)
	t.Logf("MongoDB had a new primary after %v; a plain client could not write for %v; nothing was sent for %v",
		elected.Round(time.Millisecond), plain.Round(time.Millisecond), progress.Round(time.Millisecond))
	if plain == 0 || progress > max(plain, elected)+progressBar {
		t.Errorf("nothing was sent for %v, and the database needed %v; want at most %v more", progress, max(plain, elected), progressBar)
	}
}

// elected returns how long after an instant another member became primary and took writes, by its own log.
func (t trouble) elected(old *mongodb.Member, since time.Time) time.Duration {
	t.Helper()
	const tookOver = 21331 // "Transition to primary complete; database writes are now permitted"
	for _, m := range t.set.Members {
		if m == old {
			continue
		}
		text, err := os.ReadFile(m.LogPath())
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			var entry struct {
				ID int
				T  struct {
					Date time.Time `json:"$date"`
				}
			}
			if json.Unmarshal([]byte(line), &entry) == nil && entry.ID == tookOver && entry.T.Date.After(since) {
				return entry.T.Date.Sub(since)
			}
		}
	}
	t.Fatal("no other member says in its log that it became primary")
	return 0
}

// longestGap is the longest time without an effect that ended after an instant.
func longestGap(list []simulator.Effect, since time.Time) (longest time.Duration) {
	for i := 1; i < len(list); i++ {
		if list[i].At.After(since) {
			longest = max(longest, list[i].At.Sub(list[i-1].At))
		}
	}
	return longest
}
