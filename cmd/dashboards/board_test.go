package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

//go:generate go run . ../../deploy/grafana/outboxd.json

// TestTheDashboardIsCurrent fails when deploy/grafana/outboxd.json is not what the code says. "make docs" writes it
// anew.
func TestTheDashboardIsCurrent(t *testing.T) {
	file := filepath.Join(t.TempDir(), "board.json")
	if err := run([]string{file}, nil); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := run(nil, &out); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(want, out.Bytes()) {
		t.Errorf("the file and standard output differ: %v", err)
	}
	got, err := os.ReadFile("../../deploy/grafana/outboxd.json")
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("deploy/grafana/outboxd.json is stale: run make docs (%v)", err)
	}
}
