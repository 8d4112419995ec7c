package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// build compiles outboxd once, with clocks that can be wrong, and returns the program's path.
func build(ctx context.Context, dir string) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("ask the go command for its root: %w", err)
	}
	sources := filepath.Join(dir, "clock")
	if err := os.Mkdir(sources, 0o700); err != nil {
		return "", fmt.Errorf("make a folder for the build: %w", err)
	}
	overlay, err := wrongClocks(strings.TrimSpace(string(out)), sources)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "outboxd")
	cmd := exec.CommandContext(ctx, "go", "build", "-overlay", overlay, "-o", path, "github.com/outboxd/outboxd/cmd/outboxd")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build outboxd: %w\n%s", err, text)
	}
	return path, nil
}
