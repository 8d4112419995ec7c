//go:build browser

package page_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/admin/auth"
	"github.com/outboxd/outboxd/outbox"
)

// script runs a script of the checkout and returns what it prints.
func script(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join("..", "..", "scripts", name), args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return strings.TrimSpace(string(out))
}

// Every view in a real Chromium, at three widths, light and dark, held against axe-core. A bulk retry goes by keyboard
// alone, updates arrive by themselves, and forms work without JavaScript. What the browser does is in
// testdata/browser.cjs.
// BROWSER_PICTURES names a directory for the screenshots.
func TestPageInChromium(t *testing.T) {
	chromium := script(t, "get-chromium")
	modules := script(t, "get-producers", "browser")
	w, tokens := guardedWorld(t, auth.Roles{
		"oncall": {Rights: []auth.Right{auth.Read, auth.Operate, auth.Reveal}}, "support": {Rights: []auth.Right{auth.Read}},
	})
	w.night()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan struct{}, 2)
	go func() { w.runner().Run(ctx); ended <- struct{}{} }()
	go func() { w.deliver(ctx); ended <- struct{}{} }()
	defer func() { stop(); <-ended; <-ended }()

	pictures := os.Getenv("BROWSER_PICTURES")
	limit, cancel := context.WithTimeout(t.Context(), 15*time.Minute) // about two where nothing else runs
	defer cancel()
	cmd := exec.CommandContext(limit, "node", filepath.Join("testdata", "browser.cjs"), chromium, w.server.URL+base, pictures)
	cmd.Env = append(os.Environ(), "NODE_PATH="+filepath.Join(modules, "node_modules"), "TMPDIR="+t.TempDir(),
		"ONCALL="+tokens["oncall"], "SUPPORT="+tokens["support"], "EXHAUSTED="+at("charge-0007"), "PARKED="+at("sms-0003"), "DOUBT="+at("email-doubt"))
	cmd.WaitDelay = 5 * time.Second
	if printed, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("the page in Chromium: %v\n%s", err, printed)
	}
	retried, err := w.db.Collection("outbox").CountDocuments(t.Context(), bson.M{"kind": "charge", "status": "done", "retried.n": 1})
	if err != nil || retried != 40 {
		t.Errorf("%d charges were retried by keyboard, want 40: %v", retried, err)
	}
}

// night fills the outbox as it may stand at three in the morning.
func (w *world) night() {
	w.Helper()
	ctx := w.Context()
	born := time.Now().Add(-61 * time.Minute)
	charge := bson.M{"amount": 4200, "currency": "eur", "customer": "cus_1", "payment_method": "pm_1"}
	email := bson.M{"to": "kim@example.com", "from": "shop@example.com", "subject": "Your order", "text": "Thank you"}
	for i := range 40 {
		w.insert(fmt.Sprintf("charge-%04d", i), with(dead("exhausted", "transient", "unavailable"),
			bson.M{"kind": "charge", "created_at": born, "payload": charge, "metadata": bson.M{"order": fmt.Sprintf("o%d", i), "tenant": "blue", "customer": "kim@example.com"}}))
	}
	for i := range 4 {
		w.insert(fmt.Sprintf("sms-%04d", i), with(dead("ambiguous", "ambiguous", "no_answer"), bson.M{"created_at": born}))
	}
	for i := range 9 {
		w.insert(fmt.Sprintf("opted-%04d", i), with(dead("permanent", "permanent", "opted_out"), bson.M{"created_at": born}))
	}
	for i := range 30 {
		w.insert(fmt.Sprintf("tenant-0042/orders/2026-11-27/6f1e3c1e-5f0a-4b1c-9d0e-%012d", i), bson.M{"metadata": bson.M{"order": fmt.Sprintf("o%d", i)}})
	}
	w.insert("email-doubt", bson.M{"kind": "email", "created_at": born, "payload": email, "ambiguous_at": time.Now().Add(-2 * time.Minute), "attempts": 1,
		"first_attempt_at": time.Now().Add(-2 * time.Minute), "due_at": time.Now().Add(5 * time.Minute), "history": bson.A{
			bson.M{"what": "attempt", "attempt": 1, "at": time.Now().Add(-2 * time.Minute), "ms": 20000, "outcome": "ambiguous", "code": "no_answer", "worker": "vm-1"},
			bson.M{"what": "lookup", "first": time.Now().Add(-time.Minute), "last": time.Now(), "n": 4, "outcome": "absent"}}})
	_, err := w.store.Heartbeat(ctx, outbox.Worker{Name: "vm-1", Kinds: []string{"charge", "email", "sms"}, InFlight: map[string]int{"sms": 2}, Started: time.Now(), Version: "1.2.3"})
	w.must(err)
	w.must(w.store.Hold(ctx, "sms", "unauthorized"))
	w.must(w.store.CloseGate(ctx, "email", time.Hour))
	w.must(w.store.ShowRate(ctx, "charge", "25/s"))
	_, err = w.store.TakeCensus(ctx, "vm-1", []string{"charge", "email", "sms"})
	w.must(err)
	var minutes []outbox.RateMinute
	for i := range 90 {
		c := outbox.RateCounters{Claimed: int64(900 + 11*(i%17)), Done: int64(880 + 13*(i%19)), Retried: int64(i % 40)}
		if i < 12 {
			c.Dead = int64(12 - i)
		}
		c.Took[4], c.Took[6] = 500, 60
		minutes = append(minutes, outbox.RateMinute{Minute: time.Now().Add(-time.Duration(i+1) * time.Minute), Kind: "charge", RateCounters: c})
	}
	w.must(w.store.AddRates(ctx, minutes))
}

// deliver settles what was retried, as workers would.
func (w *world) deliver(ctx context.Context) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			_, _ = w.db.Collection("outbox").UpdateMany(ctx, bson.M{"status": "pending", "retried": bson.M{"$exists": true}},
				bson.M{"$set": bson.M{"status": "done", "done_at": time.Now(), "purge_at": time.Now().Add(time.Hour)}, "$unset": bson.M{"due_at": ""}},
				options.UpdateMany().SetBypassDocumentValidation(true))
			_, _ = w.store.Heartbeat(ctx, outbox.Worker{Name: "vm-1", Kinds: []string{"charge", "email", "sms"}, Started: time.Now(), Version: "1.2.3"})
			_, _ = w.store.TakeCensus(ctx, "vm-1", []string{"charge", "email", "sms"})
		}
	}
}
