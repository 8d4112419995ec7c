package integration

import (
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// programs are the programs under test, built when the first test asks for them.
var programs struct {
	dir  string
	once sync.Once
	err  error
	log  []byte
}

// program returns the path of a program: outboxd or outbox-api.
func program(tb testing.TB, name string) string {
	tb.Helper()
	programs.once.Do(func() {
		for name, pkg := range map[string]string{"outboxd": "../cmd/outboxd", "outbox-api": "../cmd/api"} {
			args := []string{"build", "-o", filepath.Join(programs.dir, name)}
			if raceEnabled {
				args = append(args, "-race")
			}
			// Not the context of the test: the programs are every test's.
			if programs.log, programs.err = exec.Command("go", append(args, pkg)...).CombinedOutput(); programs.err != nil {
				return
			}
		}
	})
	if programs.err != nil {
		tb.Fatalf("build the programs under test: %v\n%s", programs.err, programs.log)
	}
	return filepath.Join(programs.dir, name)
}
