package httpapi_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/cmd/api/payments"
)

// schemathesis is the version of the tester that the test installs.
const schemathesis = "4.32.5"

// tester returns a directory with schemathesis, made once and kept in the checkout's cache. Where there is no Python,
// or it cannot be had, the test fails where CI=true is set and is skipped elsewhere.
func tester(t *testing.T) string {
	t.Helper()
	missing := func(format string, args ...any) {
		t.Helper()
		if os.Getenv("CI") == "true" {
			t.Fatalf(format, args...)
		}
		t.Skipf("THE TEST OF THE DESCRIPTION DOES NOT RUN: "+format, args...)
	}
	tag, err := exec.CommandContext(t.Context(), "python3", "-c", "import sys; print(sys.implementation.cache_tag)").Output()
	if err != nil {
		missing("python3 does not run (%v); install Python 3 with pip", err)
	}
	cache, err := filepath.Abs(filepath.Join("..", "..", "..", ".cache"))
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "schemathesis-"+schemathesis+"-"+strings.TrimSpace(string(tag)))
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	// Beside its place first, so that what is there is whole, also when two runs of the tests install at once.
	fresh, err := os.MkdirTemp(cache, "schemathesis-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(fresh)
	install := exec.CommandContext(t.Context(), "python3", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", fresh, "schemathesis=="+schemathesis)
	if out, err := install.CombinedOutput(); err != nil {
		missing("pip does not install schemathesis %s (%v); it needs python3 with pip, and a package index once:\n%s", schemathesis, err, out)
	}
	if err := os.Rename(fresh, dir); err != nil {
		if _, there := os.Stat(dir); there != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// The API does what its description says, to requests that keep it and to requests that break it, and never answers
// 5xx.
func TestTheAPIKeepsItsDescription(t *testing.T) {
	dir := tester(t)
	a := start(t)
	config, err := filepath.Abs(filepath.Join("testdata", "schemathesis.toml"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "python3", "-c", "from schemathesis.cli import schemathesis; schemathesis()",
		"--config-file", config, "run", a.url+"/openapi.json", "--checks", "all", "--max-examples", "25", "--seed", "1", "--no-color",
		"--phases", "examples,coverage,fuzzing")
	cmd.Dir = t.TempDir() // where it keeps its examples
	cmd.Env = append(os.Environ(), "PYTHONPATH="+dir, "PYTHONDONTWRITEBYTECODE=1")
	stop := a.worker()
	out, err := cmd.CombinedOutput()
	stop()
	if err != nil || !strings.Contains(string(out), "Test cases") {
		t.Fatalf("schemathesis: %v\n%s", err, out)
	}
	if strings.Contains(a.log.String(), `"status":5`) {
		t.Errorf("an answer was 5xx:\n%s", a.log.String())
	}
}

// worker stands in for a worker: it ends every payment, so that nobody waits for one in vain. stop ends it.
func (a *api) worker() (stop func()) {
	ctx, cancel := context.WithCancel(a.t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			_, err := a.db.Collection(payments.Collection).UpdateMany(ctx, bson.D{{Key: "state", Value: "pending"}},
				bson.D{{Key: "$set", Value: append(paid(), bson.E{Key: "delivery.receipt_email.state", Value: "sent"}, bson.E{Key: "delivery.receipt_sms.state", Value: "sent"})}})
			if err != nil && ctx.Err() == nil {
				a.t.Error(err)
			}
		}
	})
	return func() { cancel(); running.Wait() }
}
