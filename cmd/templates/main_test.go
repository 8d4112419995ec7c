package main

import (
	"bytes"
	"os"
	"testing"
)

// The Go code that is checked in is what templ makes of the templates.
func TestTemplatesAreCurrent(t *testing.T) {
	t.Parallel()
	files, err := goFiles("../../admin/page")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not current: run `go generate ./admin/page` (error %v)", name, err)
		}
	}
}
