package integration

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/integration/mongodb/mongotest"
)

// pymongo is the version of MongoDB's driver for Python that the test installs.
const pymongo = "4.15.5"

// pythonPath returns a directory with the driver, made once and kept in the checkout's cache. Where there is no Python
// or the driver cannot be had, the test fails where CI=true is set and is skipped elsewhere.
func pythonPath(t *testing.T) string {
	t.Helper()
	missing := func(format string, args ...any) {
		t.Helper()
		if os.Getenv("CI") == "true" {
			t.Fatalf(format, args...)
		}
		t.Skipf("THE TEST WITH A FOREIGN PRODUCER DOES NOT RUN: "+format, args...)
	}
	tag, err := exec.CommandContext(t.Context(), "python3", "-c", "import sys; print(sys.implementation.cache_tag)").Output()
	if err != nil {
		missing("python3 does not run (%v); install Python 3 with pip", err)
	}
	cache, err := filepath.Abs(filepath.Join("..", ".cache"))
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "pymongo-"+pymongo+"-"+strings.TrimSpace(string(tag)))
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	// Beside its place first, so that what is there is whole, also when two runs of the tests install at once.
	fresh, err := os.MkdirTemp(cache, "pymongo-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(fresh)
	install := exec.CommandContext(t.Context(), "python3", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
		"--only-binary=:all:", "--target", fresh, "pymongo=="+pymongo)
	if out, err := install.CombinedOutput(); err != nil {
		missing("pip does not install pymongo %s (%v); it needs python3 with pip, and a package index once:\n%s", pymongo, err, out)
	}
	if err := os.Rename(fresh, dir); err != nil {
		if _, there := os.Stat(dir); there != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// A program in another language, with its own driver and nothing but the contract, is served: what its committed
// transaction wrote happens once, and what its aborted one wrote never.
func TestForeignProducer(t *testing.T) {
	t.Parallel()
	path := pythonPath(t)
	w := newWorld(t, brief)
	cmd := exec.CommandContext(t.Context(), "python3", filepath.Join("testdata", "producer.py"), mongotest.URI(t), w.db.Name())
	cmd.Env = environment("PYTHONPATH="+path, "PYTHONDONTWRITEBYTECODE=1")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the producer failed: %v\n%s", err, stderr.String())
	}
	var produced struct {
		Kept, Lost []string
		Refused    *struct {
			Code   int
			Reason string
		}
	}
	if err := json.Unmarshal(out, &produced); err != nil {
		t.Fatalf("the producer printed %q: %v", out, err)
	}
	if len(produced.Kept) != 3 || len(produced.Lost) != 3 {
		t.Fatalf("the producer wrote %s", out)
	}
	if r := produced.Refused; r == nil || r.Code != 121 || !strings.Contains(r.Reason, "E.164") || !strings.Contains(r.Reason, "check the spelling") {
		t.Errorf("a malformed intent was not refused with its reasons: %+v", r)
	}
	w.drain()

	// Two follow its charge: the committed intents and the receipt.
	if n, done := w.count(bson.D{}), w.count(bson.D{{Key: "status", Value: "done"}}); n != 4 || done != 4 {
		t.Errorf("%d intents exist, %d of them done, want 4", n, done)
	}
	effects := w.sim.tally()
	for id, want := range map[string]int{
		produced.Kept[1]: 1, "kept:charge": 1, "kept:charge:done:0": 1, "+4915100000001": 1,
		produced.Lost[1]: 0, "lost:charge": 0, "lost:charge:done:0": 0, "+4915100000002": 0,
	} {
		if effects[id] != want {
			t.Errorf("%s had %d effects, want %d", id, effects[id], want)
		}
	}
	if all := w.sim.effects(); len(all) != 4 {
		t.Errorf("there were %d effects in all, want 4: %+v", len(all), all)
	}
	var orders []struct {
		ID            string `bson:"_id"`
		State, Charge string
	}
	cursor, err := w.db.Collection("orders").Find(t.Context(), bson.D{})
	if err != nil {
		t.Fatal(err)
	}
	if err := cursor.All(t.Context(), &orders); err != nil {
		t.Fatal(err)
	}
	if len(orders) != 1 || orders[0].ID != "kept" || orders[0].State != "paid" || !strings.HasPrefix(orders[0].Charge, "pi_") {
		t.Errorf("the orders are %+v", orders)
	}
	for _, e := range w.sim.effects() {
		if e.OutboxID == "kept:charge:done:0" && e.Subject != "Receipt" {
			t.Errorf("the receipt is %+v", e)
		}
	}
}
