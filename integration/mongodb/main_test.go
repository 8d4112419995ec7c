package mongodb

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// childVariable makes the test binary a program that finds a server, says where it is, and lives until it is killed.
const childVariable = "OUTBOXD_TEST_MONGODB_CHILD"

// testTimeout bounds what a test waits for.
const testTimeout = time.Minute

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		if err := child(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// child starts a server and prints its address and its directory, then waits for the end of its input.
func child() error {
	set, err := StartReplicaSet(context.Background(), 1, Options{})
	if err != nil {
		return err
	}
	fmt.Println(set.Members[0].Addr(), set.cleaner.dir)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err // Without a Close: it stands for a program that never comes to it.
}

// startChild runs this test binary as child and returns the address and the directory of its server.
func startChild(t *testing.T) (cmd *exec.Cmd, stdin io.Closer, addr, dir string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), childVariable+"=1")
	cmd.Stderr = os.Stderr
	if stdin, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		_ = cmd.Wait()
		t.Fatalf("the child printed %q: %v", line, err)
	}
	addr, dir, ok := strings.Cut(strings.TrimSpace(line), " ")
	if !ok {
		t.Fatalf("the child printed %q", line)
	}
	return cmd, stdin, addr, dir
}

// eventually fails the test unless condition holds before the time is over.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: not within %s", what, testTimeout)
		}
	}
}

// emptyMachine makes the test see neither a connection string nor a mongod.
func emptyMachine(t *testing.T) {
	t.Helper()
	t.Setenv(MongodVariable, "")
	t.Setenv("PATH", t.TempDir())
	t.Chdir(t.TempDir())
}

// startSet starts a set that is closed at the end of the test.
func startSet(t *testing.T, n int, opts Options) *ReplicaSet {
	t.Helper()
	set, err := StartReplicaSet(t.Context(), n, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := set.Close(); err != nil {
			t.Error(err)
		}
	})
	return set
}

// mongodPath is the mongod of this machine, for tests that move it. Like all tests of this package, those need one.
func mongodPath(t *testing.T) string {
	t.Helper()
	path, err := findMongod("")
	if err != nil {
		t.Fatal(err)
	}
	if path == "" {
		t.Fatal(notFound(Options{}))
	}
	return path
}
