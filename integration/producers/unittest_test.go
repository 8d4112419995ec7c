package producers

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The unit tests that the examples show pass, and fail for a document that breaks the contract.
func TestUnitTestsOfProducers(t *testing.T) {
	t.Parallel()
	outboxd := filepath.Join(t.TempDir(), "outboxd")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", outboxd, "./cmd/outboxd")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, c := range map[string]struct {
		workspace func(*testing.T) *workspace
		folder    string
		files     []string
		command   []string
	}{
		"node":   {node, "node", []string{"intents.mjs", "intent.test.mjs"}, []string{"node", "--test", "intent.test.mjs"}},
		"python": {python, "python", []string{"intents.py", "test_intents.py"}, []string{"python3", "-m", "unittest", "-v", "test_intents"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := c.workspace(t)
			w.env = append(w.env, "OUTBOXD="+outboxd)
			for _, file := range c.files {
				w.copy("examples", c.folder, file)
			}
			if code, out := w.run(t.Context(), "unused", nil, c.command...); code != 0 {
				t.Errorf("ended with %d:\n%s", code, out)
			}
			text, err := os.ReadFile(filepath.Join(w.dir, c.files[0]))
			if err != nil {
				t.Fatal(err)
			}
			w.write(c.files[0], strings.Replace(string(text), `"sms"`, `"smss"`, 1))
			if code, out := w.run(t.Context(), "unused", nil, c.command...); code == 0 || !strings.Contains(out, "kind") {
				t.Errorf("a mistyped kind: ended with %d:\n%s", code, out)
			}
		})
	}
}
