//go:build !race

// Under the race detector, documents of 16 MiB take longer to read than their leases last: `make test` runs this test
// without it, after all others.

package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// Documents as large as MongoDB takes them stop nothing, whether they are valid or not: what leaves no room for the
// outcome is not sent.
func TestOversizedIntents(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brief)
	const limit = 16 << 20
	missing := []int{0, 10, 60, 120, 180, 240, 300, 500, 1500, 17_000}
	for _, less := range missing {
		w.smuggle(sized(t, fmt.Sprint("a valid -", less), "text", limit-less))
		w.smuggle(sized(t, fmt.Sprint("a wrong -", less), "spam", limit-less))
	}
	for _, field := range []string{"status", "due_at", "priority", "lease", "metadata"} {
		d := sms("a large " + field)
		d["due_at"] = time.Now().Add(-time.Hour)
		d[field] = strings.Repeat("x", limit-500)
		w.smuggle(d)
	}
	w.insert(sms("good-sms"), charge("good-charge"), email("good-email"))
	worker := w.worker("--log-level=debug")
	for _, id := range []string{"good-sms", "good-charge", "good-email"} {
		w.settled(id)
	}
	for _, less := range missing {
		w.settled(fmt.Sprint("a valid -", less))
		w.settled(fmt.Sprint("a wrong -", less))
	}
	for _, field := range []string{"status", "due_at", "priority", "lease", "metadata"} {
		w.settled("a large " + field)
	}
	w.modest(worker)
	worker.stop()
	effects := w.sim.tally()
	for _, less := range missing {
		outcome, count := "dead/invalid", 0
		switch less {
		case 0, 10:
			outcome = "dead/" // there is no room to say why
		case 17_000:
			outcome, count = "done", 1
		}
		w.expect(effects, fmt.Sprint("a valid -", less), outcome, count)
		if less == 17_000 {
			outcome = "dead/invalid"
		}
		w.expect(effects, fmt.Sprint("a wrong -", less), outcome, 0)
	}
	for _, id := range []string{"good-sms", "good-charge", "good-email"} {
		w.expect(effects, id, "done", 1)
	}
	w.expect(effects, "a large lease", "dead/ambiguous", 0) // a pending intent with any lease is one whose lease ran out
	if n := strings.Count(worker.errOut.String(), "failed"); n > 0 {
		t.Errorf("%d lines of the log tell of something that failed", n)
	}
}
