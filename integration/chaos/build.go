package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// build compiles outboxd once, where wanted with clocks that can be wrong, and returns the program's path.
func build(ctx context.Context, dir string, wrong bool) (string, error) {
	path := filepath.Join(dir, "outboxd")
	args := []string{"build", "-o", path}
	if wrong {
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
		args = append(args, "-overlay", overlay)
	}
	if text, err := exec.CommandContext(ctx, "go", append(args, "github.com/outboxd/outboxd/cmd/outboxd")...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build outboxd: %w\n%s", err, text)
	}
	return path, nil
}
