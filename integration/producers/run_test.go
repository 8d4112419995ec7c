package producers

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/outboxd/outboxd/integration/mongodb/mongotest"
	"github.com/outboxd/outboxd/migrations"
)

// root is the checkout.
var root = filepath.Join("..", "..")

// dependencies returns the directory with what a language's programs need. Where the language's tools are missing or
// the registry cannot be had, the test fails where CI=true is set and is skipped elsewhere.
func dependencies(t *testing.T, language string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(root, "scripts", "get-producers"), language)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("scripts/get-producers %s: %v\n%s", language, err, errOut.String())
		}
		t.Skipf("THE PROGRAMS FOR %s ARE NOT RUN: scripts/get-producers: %v\n%s", language, err, errOut.String())
	}
	return strings.TrimSpace(out.String())
}

// migrated returns a database with an outbox. The kind webhook is that of docs/extending.md.
func migrated(t *testing.T) *mongo.Database {
	t.Helper()
	db := mongotest.Database(t)
	if _, err := migrations.New(db, "").Register("webhook").Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db
}

// blocks returns the programs that a page shows in a language.
func blocks(t *testing.T, page, language string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs", "producers", page))
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllSubmatch(text, -1) {
		found = append(found, string(m[1]))
	}
	return found
}

// workspace is a directory in which programs of one language run.
type workspace struct {
	*testing.T
	dir string
	env []string
}

// write puts a file into the directory.
func (w *workspace) write(name, text string) {
	w.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600); err != nil {
		w.Fatal(err)
	}
}

// errInfo returns that of an error 121, as canonical Extended JSON.
func errInfo(t *testing.T, err error) string {
	t.Helper()
	refusal, ok := errors.AsType[mongo.WriteException](err)
	if !ok || len(refusal.WriteErrors) != 1 || refusal.WriteErrors[0].Code != 121 {
		t.Fatalf("got %v, want one error 121", err)
	}
	text, err := bson.MarshalExtJSON(refusal.WriteErrors[0].Details, true, false)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// copy puts a file of the checkout into the directory.
func (w *workspace) copy(path ...string) {
	w.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{root}, path...)...))
	if err != nil {
		w.Fatal(err)
	}
	w.write(path[len(path)-1], string(text))
}

// run runs a program on a database and returns its exit code and what it printed.
func (w *workspace) run(ctx context.Context, db string, env []string, command ...string) (code int, output string) {
	w.Helper()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Dir = w.dir
	cmd.Env = append(os.Environ(), "OUTBOXD_MONGODB_URI="+mongotest.URI(w), "OUTBOXD_DATABASE="+db)
	cmd.Env = append(append(cmd.Env, w.env...), env...)
	out, err := cmd.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), string(out)
	}
	if err != nil {
		w.Fatalf("run %s: %v\n%s", command[0], err, out)
	}
	return 0, string(out)
}

// must runs a program that has to succeed.
func (w *workspace) must(command ...string) {
	w.Helper()
	if code, out := w.run(w.Context(), "", nil, command...); code != 0 {
		w.Fatalf("%s ended with %d:\n%s", strings.Join(command, " "), code, out)
	}
}

func node(t *testing.T) *workspace {
	t.Helper()
	w := &workspace{T: t, dir: t.TempDir()}
	modules := filepath.Join(dependencies(t, "node"), "node_modules")
	if err := os.Symlink(modules, filepath.Join(w.dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	w.copy("examples", "node", "reasons.cjs")
	w.copy("examples", "node", "reasons.d.cts")
	return w
}

func python(t *testing.T) *workspace {
	t.Helper()
	w := &workspace{T: t, dir: t.TempDir(), env: []string{"PYTHONPATH=" + dependencies(t, "python"), "PYTHONDONTWRITEBYTECODE=1"}}
	w.copy("examples", "python", "outbox_reasons.py")
	return w
}

func java(t *testing.T) *workspace {
	t.Helper()
	w := &workspace{T: t, dir: t.TempDir()}
	w.env = []string{"CLASSPATH=" + filepath.Join(dependencies(t, "java"), "*") + string(os.PathListSeparator) + "."}
	w.copy("examples", "java", "OutboxReasons.java")
	return w
}

// rust has the dependencies compiled in its target directory already.
func rust(t *testing.T) *workspace {
	t.Helper()
	w := &workspace{T: t, dir: t.TempDir()}
	w.env = []string{"CARGO_TARGET_DIR=" + filepath.Join(dependencies(t, "rust"), "target")}
	w.copy("integration", "producers", "testdata", "rust", "Cargo.toml")
	w.copy("integration", "producers", "testdata", "rust", "Cargo.lock")
	return w
}

// golang is a module of its own, as an application is one, which uses module producer of the checkout.
func golang(t *testing.T) *workspace {
	t.Helper()
	w := &workspace{T: t, dir: t.TempDir(), env: []string{"GOWORK=off", "GOFLAGS=-mod=mod"}}
	module, err := filepath.Abs(filepath.Join(root, "producer"))
	if err != nil {
		t.Fatal(err)
	}
	driver := regexp.MustCompile(`go\.mongodb\.org/mongo-driver/v2 v\S+`).FindString(w.read(filepath.Join(module, "go.mod")))
	w.write("go.mod", "module place-order\n\ngo 1.26\n\nrequire (\n\tgithub.com/outboxd/outboxd/producer v0.0.0\n\t"+driver+"\n)\n\nreplace github.com/outboxd/outboxd/producer => "+module+"\n")
	w.copy("producer", "go.sum")
	return w
}

func (w *workspace) read(path string) string {
	w.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		w.Fatal(err)
	}
	return string(text)
}
