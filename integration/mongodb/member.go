package mongodb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	// pidFile holds a member's process id while it lives; the cleaner reads it.
	pidFile = "process-id"
	// pollInterval is how often a server that starts is asked whether it is there.
	pollInterval = 10 * time.Millisecond
	// answerTimeout is how long one question to a member may take; a paused one never answers.
	answerTimeout = 2 * time.Second
	// stopTimeout bounds the end of a server; a killed process is gone in milliseconds unless its disk hangs.
	stopTimeout = 15 * time.Second
	// portInUse is mongod's exit code when it cannot listen (EXIT_NET_ERROR).
	portInUse = 48
	// startAttempts is how many ports are tried: between finding a free one and mongod's listening, another process
	// may take it.
	startAttempts = 5
)

// ErrNotRunning is returned, wrapped with the member's name, by operations on a member whose process has ended.
var ErrNotRunning = errors.New("not running")

// errPortInUse is returned when a member could not listen on its port.
var errPortInUse = errors.New("its port is taken by another process")

// Member is one server of a replica set that this process started. Its methods may be called from several goroutines at
// once; they take turns.
type Member struct {
	path string   // the mongod
	args []string // without port
	dir  string   // holds data, log and process id
	port int

	mu      sync.Mutex
	process *process
}

// Addr is the member's host and port, as in the set's configuration. It stays the same when the member is started
// again.
func (m *Member) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(m.port)) }

// URI reaches this member alone, whatever its state.
func (m *Member) URI() string { return "mongodb://" + m.Addr() + "/?directConnection=true" }

// LogPath is the file that holds the member's log.
func (m *Member) LogPath() string { return filepath.Join(m.dir, "mongod.log") }

// Start starts the member again after Kill or Shutdown, with the data it had, and returns once it accepts connections;
// it may take longer to be a secondary again. It does nothing to a member that runs. The error shows the end of the
// member's log.
func (m *Member) Start(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.process != nil && m.process.running() {
		return nil
	}
	return m.start(ctx)
}

// start starts the process and waits until it listens. The caller holds the lock.
func (m *Member) start(ctx context.Context) error {
	log, err := os.OpenFile(m.LogPath(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open the log of mongod %s: %w", m.Addr(), err)
	}
	defer log.Close() // The process holds its own copy.

	// Not CommandContext: ctx bounds the start, and the server outlives it.
	cmd := exec.Command(m.path, append(m.args, "--port", strconv.Itoa(m.port))...)
	cmd.Dir = m.dir
	cmd.Stdout, cmd.Stderr = log, log
	m.process, err = startProcess(cmd, serverAttr(), filepath.Join(m.dir, pidFile))
	if err != nil {
		return fmt.Errorf("start %s: %w", m.path, err)
	}
	if err := m.waitListening(ctx); err != nil {
		return errors.Join(err, m.kill())
	}
	return nil
}

// waitListening returns once the member answers, its process has ended, or ctx has.
func (m *Member) waitListening(ctx context.Context) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		select {
		case <-m.process.done:
			err := fmt.Errorf("mongod %s ended while it started: %w%s", m.Addr(), cmp.Or(m.process.err, errors.New("exit status 0")), tail(m.LogPath()))
			if exit, ok := errors.AsType[*exec.ExitError](m.process.err); ok && exit.ExitCode() == portInUse {
				err = fmt.Errorf("%w: %w", errPortInUse, err)
			}
			return err
		case <-ctx.Done():
			return fmt.Errorf("wait for mongod %s to listen: %w%s", m.Addr(), context.Cause(ctx), tail(m.LogPath()))
		case <-tick.C:
			if m.answers(ctx) {
				return nil
			}
		}
	}
}

// answers reports whether this member's process is the one that answers on its port. Until it listens, another one may
// have taken the port: a throw-away server of a test that runs beside this one, say, which must not be mistaken for it.
func (m *Member) answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	// A bare connection first: a client whose first attempt fails waits half a second before the next.
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", m.Addr())
	if err != nil {
		return false
	}
	_ = conn.Close()
	pid, err := serverPID(ctx, m.URI())
	return err == nil && pid == m.process.cmd.Process.Pid
}

// isPrimary reports whether the member answers that it is the primary.
func (m *Member) isPrimary(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	h, err := askHello(ctx, m.URI())
	return err == nil && h.Primary
}

// Kill ends the member as a power cut would (SIGKILL) and waits for its end. It does nothing to a member that does not
// run; one that is paused is killed too.
func (m *Member) Kill() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.kill()
}

func (m *Member) kill() error {
	if m.process == nil {
		return nil
	}
	if err := m.process.signal(os.Kill); err != nil {
		return fmt.Errorf("kill mongod %s: %w", m.Addr(), err)
	}
	select {
	case <-m.process.done:
		return nil
	case <-time.After(stopTimeout):
		return fmt.Errorf("kill mongod %s: still there after %s", m.Addr(), stopTimeout)
	}
}

// Shutdown ends the member in good order (SIGTERM): a primary steps down first. It waits for the member's end until ctx
// ends, and leaves the member to itself then. It does nothing to a member that does not run.
func (m *Member) Shutdown(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.process == nil {
		return nil
	}
	if err := m.process.signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("shut mongod %s down: %w", m.Addr(), err)
	}
	select {
	case <-m.process.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("shut mongod %s down: %w", m.Addr(), context.Cause(ctx))
	}
}

// Pause stops the member without its notice (SIGSTOP): its connections stay open and nothing answers. The error wraps
// ErrNotRunning where the process has ended, and errors.ErrUnsupported on systems that cannot do it.
func (m *Member) Pause() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.process == nil || !m.process.running() {
		return fmt.Errorf("pause mongod %s: %w", m.Addr(), ErrNotRunning)
	}
	if err := m.process.pause(); err != nil {
		return fmt.Errorf("pause mongod %s: %w", m.Addr(), err)
	}
	return nil
}

// Resume lets a paused member run on (SIGCONT). A member that is not paused takes no notice. Errors are those of Pause.
func (m *Member) Resume() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.process == nil || !m.process.running() {
		return fmt.Errorf("resume mongod %s: %w", m.Addr(), ErrNotRunning)
	}
	if err := m.process.resume(); err != nil {
		return fmt.Errorf("resume mongod %s: %w", m.Addr(), err)
	}
	return nil
}

// freePort returns a port on which nothing listened a moment ago.
func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	return port, listener.Close()
}
