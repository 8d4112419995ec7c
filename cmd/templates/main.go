// Command templates makes the Go code of the operators' page from its templates, by the library of templ in go.mod.
//
//	go run ./cmd/templates DIRECTORY
package main

import (
	"bytes"
	"fmt"
	"go/format"
	"os"
	"path/filepath"
	"strings"

	"github.com/a-h/templ"
	"github.com/a-h/templ/generator"
	"github.com/a-h/templ/parser/v2"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "templates:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("want one directory with templates, got %d arguments", len(args))
	}
	files, err := goFiles(args[0])
	if err != nil {
		return err
	}
	for name, code := range files {
		if err := os.WriteFile(name, code, 0o644); err != nil {
			return fmt.Errorf("write what was made of a template: %w", err)
		}
	}
	return nil
}

// goFiles returns what stands in the Go file of each template of a directory, by the file's name.
func goFiles(dir string) (map[string][]byte, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.templ"))
	if err != nil {
		return nil, fmt.Errorf("find templates in %s: %w", dir, err)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s has no templates: name the directory of the page", dir)
	}
	files := make(map[string][]byte)
	for _, name := range names {
		source, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		file, err := parser.ParseString(string(source))
		if err != nil {
			return nil, fmt.Errorf("read template %s: %w", name, err)
		}
		var made bytes.Buffer
		if _, err := generator.Generate(file, &made, generator.WithFileName(filepath.Base(name)), generator.WithVersion(templ.Version())); err != nil {
			return nil, fmt.Errorf("make Go of template %s: %w", name, err)
		}
		if files[strings.TrimSuffix(name, ".templ")+"_templ.go"], err = format.Source(made.Bytes()); err != nil {
			return nil, fmt.Errorf("what was made of template %s is no Go: %w", name, err)
		}
	}
	return files, nil
}
