package main

import (
	"context"
	"os"
	"testing"

	"github.com/outboxd/outboxd/integration/mongodb/mongotest"
)

// runAsOutboxd makes this test binary behave as outboxd, for tests that need a process of its own.
const runAsOutboxd = "TEST_RUN_AS_OUTBOXD=1"

func TestMain(m *testing.M) {
	if os.Getenv("TEST_RUN_AS_OUTBOXD") == "1" {
		os.Exit(run(context.Background(), os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
	}
	mongotest.Main(m)
}
