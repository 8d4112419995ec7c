//go:build browser

package integration

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// shopping is a configuration under which an outage that a person ends is over soon.
const shopping = `
lanes:
  charge: {retry: {base: 50ms, max: 1s}, breaker: {open_for: 1s}}
  email: {retry: {base: 50ms, max: 1s}, breaker: {open_for: 1s}, reconcile: {wait: 100ms, interval: 1s, absent_after: 2s, give_up: 60s}}
  sms: {retry: {base: 50ms, max: 1s}, breaker: {open_for: 1s}}
write_back: {collections: [payments]}
`

// browserMakers are whom Chromium asks on its own account: for a dictionary, say, as soon as somebody types. The border
// stops it. A page that asks them is found by the script, which sees every request of a page.
var browserMakers = []string{".google.com", ".googleapis.com", ".gvt1.com"}

// border is a proxy that lets nothing through and remembers who wanted to leave the machine.
type border struct {
	mu   sync.Mutex
	seen []string
}

func (b *border) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seen = append(b.seen, r.Host)
	w.WriteHeader(http.StatusForbidden)
}

// Both pages in a real Chromium, against the real API, worker and simulators: a purchase by keyboard, outages, a
// decline, and what axe-core finds. No request leaves the machine. What the browser does is in
// testdata/browser/pages.cjs. BROWSER_PICTURES names a directory for the screenshots.
func TestPagesInChromium(t *testing.T) {
	chromium := script(t, "get-chromium")
	modules := script(t, "get-producers", "browser")
	w := newWorld(t, shopping)
	w.secrets = append(w.secrets, "OUTBOX_API_SIMULATOR="+w.sim.Stripe)
	w.worker()
	api := w.shop()
	out := new(border)
	proxy := httptest.NewServer(out)
	defer proxy.Close()
	pictures := os.Getenv("BROWSER_PICTURES")
	if pictures == "" {
		pictures = t.TempDir()
	}
	pages, err := filepath.Abs(filepath.Join("testdata", "browser", "pages.cjs"))
	if err != nil {
		t.Fatal(err)
	}

	const canary = "canary.invalid"
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute) // about one where nothing else runs
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", pages, chromium, api.url, proxy.URL, "http://"+canary+"/", pictures)
	cmd.Env = environment("NODE_PATH="+filepath.Join(modules, "node_modules"), "TMPDIR="+t.TempDir())
	cmd.WaitDelay = 5 * time.Second
	if printed, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("the pages in Chromium: %v\n%s", err, printed)
	}
	out.mu.Lock()
	defer out.mu.Unlock()
	if !slices.Contains(out.seen, canary) {
		t.Errorf("the proxy did not see the request that tries it, but %q", out.seen)
	}
	for _, host := range out.seen {
		if host != canary && !slices.ContainsFunc(browserMakers, func(maker string) bool { return strings.HasSuffix(strings.TrimSuffix(host, ":443"), maker) }) {
			t.Errorf("a request wanted to leave the machine: to %s", host)
		}
	}
	if found, err := filepath.Glob(filepath.Join(pictures, "*.png")); err != nil || len(found) < 10 {
		t.Errorf("there are %d screenshots, want 10; error %v", len(found), err)
	}
}

// script runs a script of the checkout and returns what it prints.
func script(t *testing.T, name string, args ...string) string {
	t.Helper()
	printed, problem := tryScript(t, name, args...)
	if problem != "" {
		t.Fatal(problem)
	}
	return printed
}
