package integration

import (
	"fmt"
	"os"
	"testing"

	"github.com/outboxd/outboxd/integration/mongodb/mongotest"
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "outboxd-integration-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "make a directory for the programs under test:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	programs.dir = dir
	return mongotest.Run(m)
}
