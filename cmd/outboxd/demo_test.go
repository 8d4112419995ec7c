package main

import (
	"strings"
	"testing"

	"github.com/outboxd/outboxd/integration/mongodb/mongotest"
)

// The demo is its own proof: it fails if one number does not fit. Credentials that look real must not reach its worker.
func TestDemo(t *testing.T) {
	t.Parallel()
	p := launch(t, []string{"OUTBOXD_MONGODB_URI=" + mongotest.URI(t), "STRIPE_API_KEY=sk_live_real", "STRIPE_API_URL=http://127.0.0.1:1", "OUTBOXD_DATABASE=mine", "STRIPE_API_KEY_FILE=/run/secrets/stripe", "TMPDIR=" + t.TempDir()}, "demo")
	if code := p.end(t); code != exitDone {
		t.Fatalf("exit code %d\n%s%s", code, p.out, p.log)
	}
	out := p.out.String()
	checkHuman(t, out)
	for _, want := range []string{"card declined", "SendGrid limits the rate", "dead: ambiguous", "dead: exhausted", "dead: expired", "dead: invalid", "cancelled", "equal", "ended as they must"} {
		if !strings.Contains(out, want) {
			t.Errorf("the summary lacks %q", want)
		}
	}
	if strings.Contains(out, "NOT EQUAL") || t.Failed() {
		t.Log(out)
	}
}
