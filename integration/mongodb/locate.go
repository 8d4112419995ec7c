package mongodb

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// findMongod returns the path of the mongod to start, or "" where there is none. One that was asked for by name, as an
// option or in the environment, must be there: to run another one instead would hide a typing error.
func findMongod(option string) (string, error) {
	for _, asked := range []struct{ path, by string }{{option, "option Mongod"}, {os.Getenv(MongodVariable), MongodVariable}} {
		if asked.path == "" {
			continue
		}
		path, err := exec.LookPath(asked.path)
		if err != nil {
			return "", fmt.Errorf("find the mongod that %s names: %w", asked.by, err)
		}
		return filepath.Abs(path)
	}
	switch path, err := exec.LookPath("mongod"); {
	case err == nil:
		return path, nil
	case !errors.Is(err, exec.ErrNotFound):
		return "", fmt.Errorf("find mongod on the PATH: %w", err)
	}
	return findCached()
}

// findCached looks for CachePath in the working directory and in each directory above it that holds a go.mod: the
// root of the checkout, wherever in it a test runs, also in a module within it.
func findCached() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the working directory: %w", err)
	}
	candidates := []string{dir}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			candidates = append(candidates, dir)
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			break
		}
		dir = parent
	}
	for _, dir := range candidates {
		path := filepath.Join(dir, filepath.FromSlash(CachePath))
		switch _, err := exec.LookPath(path); {
		case err == nil:
			return path, nil
		case !errors.Is(err, fs.ErrNotExist):
			return "", fmt.Errorf("use the mongod in the checkout: %w; `make mongod` replaces it", err)
		}
	}
	return "", nil
}
