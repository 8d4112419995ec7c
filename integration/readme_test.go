package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/integration/mongodb/mongotest"
)

// The producers in the README are run as they stand there, and what they write is carried out.
func TestReadmeProducers(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile(filepath.Join("..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for language, example := range map[string]struct {
		file, order, kind string
		command           []string
		env               func(*testing.T) string
	}{
		"go":     {"main.go", "order-2", "email", []string{"go", "run"}, func(*testing.T) string { return "GOWORK=off" }},
		"python": {"main.py", "order-3", "charge", []string{"python3"}, func(t *testing.T) string { return "PYTHONPATH=" + pythonPath(t) }},
	} {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			block := regexp.MustCompile("(?s)```" + language + "\n(.*?)```").FindSubmatch(readme)
			if block == nil {
				t.Fatalf("the README has no example in %s", language)
			}
			file := filepath.Join(t.TempDir(), example.file)
			if err := os.WriteFile(file, block[1], 0o600); err != nil {
				t.Fatal(err)
			}
			w := newWorld(t, brief)
			cmd := exec.CommandContext(t.Context(), example.command[0], append(example.command[1:], file)...)
			cmd.Env = append(os.Environ(), "OUTBOXD_MONGODB_URI="+mongotest.URI(t), "OUTBOXD_DATABASE="+w.db.Name(), example.env(t))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("the README's example in %s failed: %v\n%s", language, err, out)
			}
			if err := w.db.Collection("orders").FindOne(t.Context(), bson.D{{Key: "_id", Value: example.order}}).Err(); err != nil {
				t.Errorf("the example's order: %v", err)
			}
			w.drain()
			if n := w.count(bson.D{{Key: "kind", Value: example.kind}, {Key: "status", Value: "done"}}); n != 1 {
				t.Errorf("%d intents of kind %s are done, want 1", n, example.kind)
			}
		})
	}
}

// What the README tells of the command line exists.
func TestReadmeNamesTargetsThatExist(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join("..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	makefile, err := os.ReadFile(filepath.Join("..", "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range regexp.MustCompile("(?m)(?:^|`)make ([a-z-]+)").FindAllSubmatch(readme, -1) {
		if !strings.Contains(string(makefile), "\n"+string(target[1])+":") {
			t.Errorf("the README names `make %s`, which the Makefile has not", target[1])
		}
	}
	for _, link := range regexp.MustCompile(`\]\(([a-z][^):#]*)\)`).FindAllSubmatch(readme, -1) {
		if _, err := os.Stat(filepath.Join("..", string(link[1]))); err != nil {
			t.Errorf("the README links to %s: %v", link[1], err)
		}
	}
}
