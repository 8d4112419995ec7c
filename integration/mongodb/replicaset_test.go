package mongodb

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

func itoa(n int) string { return strconv.Itoa(n) }

// startStandalone starts a server that is no member of a replica set.
func startStandalone(t *testing.T, mongod string) *Member {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	m := &Member{path: mongod, dir: dir, port: port, args: []string{"--dbpath", dir, "--bind_ip", "127.0.0.1", "--nounixsocket"}}
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Kill(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// refuses reports whether nobody listens on the address.
func refuses(addr string) bool {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return true
	}
	conn.Close()
	return false
}

func gone(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist)
}

func TestCloseLeavesNothing(t *testing.T) {
	set, err := StartReplicaSet(t.Context(), 1, Options{})
	if err != nil {
		t.Fatal(err)
	}
	addr, dir := set.Members[0].Addr(), set.cleaner.dir
	if gone(dir) || refuses(addr) {
		t.Fatal("the server or its directory is not where the test looks")
	}
	for range 2 {
		if err := set.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if !gone(dir) {
		t.Errorf("%s is left", dir)
	}
	if !refuses(addr) {
		t.Errorf("somebody still listens on %s", addr)
	}
}

func TestNothingOutlivesAProgram(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(cmd *exec.Cmd, stdin io.Closer) error
	}{
		{"that was killed", func(cmd *exec.Cmd, _ io.Closer) error { return cmd.Process.Kill() }},
		{"that forgot to close", func(_ *exec.Cmd, stdin io.Closer) error { return stdin.Close() }},
	} {
		t.Run(test.name, func(t *testing.T) {
			cmd, stdin, addr, dir := startChild(t)
			if gone(dir) || refuses(addr) {
				t.Fatal("the child's server or its directory is not where the test looks")
			}
			if err := test.end(cmd, stdin); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // Both ends are failures to it.
			eventually(t, "the end of the server at "+addr, func() bool { return refuses(addr) })
			eventually(t, "the removal of "+dir, func() bool { return gone(dir) })
		})
	}
}

// On Linux a child dies with the thread that started it, if it asked for that.
func TestServerOutlivesTheThreadThatAskedForIt(t *testing.T) {
	type result struct {
		set *ReplicaSet
		err error
	}
	started := make(chan result)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // Never unlocked: the thread ends with the goroutine.
		set, err := StartReplicaSet(t.Context(), 1, Options{})
		started <- result{set, err}
	}()
	r := <-started
	<-ended
	if r.err != nil {
		t.Fatal(r.err)
	}
	defer r.set.Close()
	process := r.set.Members[0].process
	select {
	case <-process.done:
		t.Fatalf("the server ended with the thread: %v", process.err)
	case <-time.After(100 * time.Millisecond):
	}
	if _, err := inspect(t.Context(), r.set.URI()); err != nil {
		t.Fatal(err)
	}
}

func TestMemberIsNotMistakenForAnotherOnItsPort(t *testing.T) {
	other := startStandalone(t, mongodPath(t))
	dir := t.TempDir()
	m := &Member{path: other.path, dir: dir, port: other.port, args: arguments(dir, Options{})}
	if err := m.Start(t.Context()); !errors.Is(err, errPortInUse) {
		t.Fatalf("Start on a taken port = %v, want errPortInUse", err)
	}
	if err := m.Pause(); !errors.Is(err, ErrNotRunning) {
		t.Errorf("Pause = %v, want ErrNotRunning", err)
	}
}

func TestFailPointsAreThere(t *testing.T) {
	set := startSet(t, 1, Options{})
	err := withClient(t.Context(), set.URI(), func(admin *mongo.Database) error {
		return admin.RunCommand(t.Context(), bson.D{
			{Key: "configureFailPoint", Value: "failCommand"},
			{Key: "mode", Value: bson.D{{Key: "times", Value: 1}}},
			{Key: "data", Value: bson.D{{Key: "failCommands", Value: bson.A{"find"}}, {Key: "errorCode", Value: 11600}}},
		}).Err()
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestReplicaSetSurvivesItsPrimary(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	set := startSet(t, 3, Options{
		CacheSizeGB:     0.25,
		ElectionTimeout: time.Second,
		// Shutdown waits for it, so that clients notice before connections break.
		Parameters: map[string]string{"shutdownTimeoutMillisForSignaledShutdown": "100"},
	})
	first, err := set.Primary(ctx)
	if err != nil {
		t.Fatal(err)
	}

	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	if !refuses(first.Addr()) {
		t.Error("a killed member still listens")
	}
	second, err := set.Primary(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if second == first {
		t.Error("a killed member is primary")
	}
	if err := first.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if err := waitSecondary(ctx, first.URI()); err != nil {
		t.Fatal(err)
	}

	if err := second.Pause(); err != nil {
		t.Fatal(err)
	}
	third, err := set.Primary(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if third == second {
		t.Error("a paused member is primary")
	}
	if err := second.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := waitSecondary(ctx, second.URI()); err != nil {
		t.Fatal(err)
	}
	if err := third.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if err := third.Resume(); !errors.Is(err, ErrNotRunning) {
		t.Errorf("Resume after Shutdown = %v, want ErrNotRunning", err)
	}
}

func TestReplicaSetSize(t *testing.T) {
	for _, n := range []int{-1, 0, 8} {
		if set, err := StartReplicaSet(t.Context(), n, Options{}); err == nil {
			set.Close()
			t.Errorf("StartReplicaSet(%d) gave no error", n)
		}
	}
}

func TestTailShowsWhatTells(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	lines := []string{
		`cannot load`,
		`{"s":"I","msg":"first"}`,
		`{"s":"E","msg":"it broke"}`,
	}
	for range 30 {
		lines = append(lines, `{"s":"I","msg":"going down"}`)
	}
	lines = append(lines, `{"s":"I","msg":"exiting","long":"`+strings.Repeat("x", 2*tailWidth)+`"}`)
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := tail(path)
	for _, want := range []string{"cannot load", "it broke", "exiting", "…"} {
		if !strings.Contains(got, want) {
			t.Errorf("tail has no %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "first") || strings.Count(got, "\n") != 5 {
		t.Errorf("tail shows too much:\n%s", got)
	}
	if got := tail(filepath.Join(t.TempDir(), "none")); !strings.Contains(got, "cannot be read") {
		t.Errorf("tail of no log = %q", got)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := tail(empty); strings.Contains(got, "cannot be read") {
		t.Errorf("tail of an empty log = %q", got)
	}
}
