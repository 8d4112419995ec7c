package httpapi_test

import (
	"net/url"
	"os/exec"
	"strings"
	"testing"

	"github.com/outboxd/outboxd/cmd/api/httpapi"
	"github.com/outboxd/outboxd/providers/simulator"
)

// Both pages run in a real browser under their own policy: what their scripts write is there.
func TestPagesInChromium(t *testing.T) {
	var chromium string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			chromium = path
		}
	}
	if chromium == "" {
		t.Skip("THE PAGES ARE NOT TESTED IN A BROWSER: there is no chromium")
	}
	sims, err := simulator.Start(simulator.Config{}, simulator.Addrs{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sims.Close)
	control, err := url.Parse(sims.StripeURL)
	if err != nil {
		t.Fatal(err)
	}
	a := start(t).with(httpapi.Config{Simulator: control})
	for path, wants := range map[string][]string{
		"/":     {"A card that is declined", `aria-label="Switch off Stripe (cards)"`, `id="switch-twilio"`},
		"/docs": {"POST /payments", "GET /payments/{id}/events", "<code>idempotency_key_reused</code>", "application/problem+json"},
	} {
		cmd := exec.CommandContext(t.Context(), chromium, "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir="+t.TempDir(),
			"--virtual-time-budget=10000", "--dump-dom", a.url+path)
		var problems strings.Builder
		cmd.Stderr = &problems
		dom, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v\n%s", path, err, problems.String())
		}
		for _, want := range wants {
			if !strings.Contains(string(dom), want) {
				t.Errorf("%s lacks %q:\n%.3000s", path, want, dom)
			}
		}
	}
}
