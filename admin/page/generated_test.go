package page_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"go/format"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/a-h/templ"
	"github.com/a-h/templ/generator"
	"github.com/a-h/templ/parser/v2"
)

// The Go code that is checked in is what templ makes of the templates.
func TestTemplatesAreCurrent(t *testing.T) {
	t.Parallel()
	names, err := filepath.Glob("*.templ")
	if err != nil || len(names) == 0 {
		t.Fatalf("no templates: %v", err)
	}
	for _, name := range names {
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		file, err := parser.ParseString(string(source))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var made bytes.Buffer
		if _, err := generator.Generate(file, &made, generator.WithFileName(name), generator.WithVersion(templ.Version())); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want, err := format.Source(made.Bytes())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := os.ReadFile(strings.TrimSuffix(name, ".templ") + "_templ.go")
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("the Go code of %s is not current: run `go generate ./admin/page` (error %v)", name, err)
		}
	}
}

// The libraries are the files that scripts/get-page-assets took from npm.
func TestLibrariesAreAsFetched(t *testing.T) {
	t.Parallel()
	dir := filepath.Join("assets", "vendor")
	sums, err := os.ReadFile(filepath.Join(dir, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{"SHA256SUMS": true}
	for line := range strings.Lines(string(sums)) {
		want, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != want {
			t.Errorf("%s is not what was fetched: run scripts/get-page-assets", name)
		}
		listed[name] = true
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !listed[f.Name()] {
			t.Errorf("%s came from nowhere", f.Name())
		}
	}
}
