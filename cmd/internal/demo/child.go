package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	serveTimeout = 20 * time.Second // for a process to serve after its start
	lastLines    = 10               // of its log, shown when something went wrong
)

// child is a process of this program: the worker's, or that of the operators. Its log goes to a file, and is read on
// the way.
type child struct {
	name    string // of the command
	cmd     *exec.Cmd
	reading sync.WaitGroup
	serving chan struct{} // closed when it serves
	ended   chan struct{} // closed when its process has ended

	mu      sync.Mutex
	address string // that it serves at
	tail    []string
	err     error // how it ended
}

// startChild starts a command of the given executable, with the log in a file.
func startChild(executable, log string, environ []string, name string, args ...string) (*child, error) {
	file, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("write the %s's log: %w", name, err)
	}
	c := &child{name: name, serving: make(chan struct{}), ended: make(chan struct{})}
	// Not bound to a context: it is ended by a signal, in good order.
	c.cmd = exec.Command(executable, append([]string{name, "--listen", "127.0.0.1:0", "--log-format", "json", "--drain", "10s"}, args...)...)
	c.cmd.Env = environ
	c.cmd.SysProcAttr = ownGroup() // an interrupt typed at the terminal is the demo's to pass on
	stderr, err := c.cmd.StderrPipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read the %s's log: %w", name, err), file.Close())
	}
	if err := c.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start the %s %s: %w", name, executable, err), file.Close())
	}
	c.reading.Go(func() {
		c.read(io.TeeReader(stderr, file))
		err := c.cmd.Wait()
		c.mu.Lock()
		c.err = err
		c.mu.Unlock()
		_ = file.Close() // a log that is thrown away
		close(c.ended)
	})
	return c, nil
}

// read follows the log until the process closes it.
func (c *child) read(log io.Reader) {
	serving := sync.OnceFunc(func() { close(c.serving) })
	lines := bufio.NewReader(log)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			var entry struct{ Msg, Listen string }
			isJSON := json.Unmarshal([]byte(line), &entry) == nil
			c.mu.Lock()
			if c.tail = append(c.tail, strings.TrimSpace(line)); len(c.tail) > lastLines {
				c.tail = c.tail[1:]
			}
			if isJSON && strings.HasPrefix(entry.Msg, "serving") {
				c.address = entry.Listen
				serving()
			}
			c.mu.Unlock()
		}
		if err != nil {
			return
		}
	}
}

// awaitServing returns once it serves.
func (c *child) awaitServing(ctx context.Context) error {
	select {
	case <-c.serving:
		return nil
	case <-c.ended:
		return c.failure("ended before it served")
	case <-time.After(serveTimeout):
		return c.failure(fmt.Sprintf("does not serve within %v", serveTimeout))
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// failure says what is wrong with it, with the end of its log.
func (c *child) failure(what string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	//nolint:errorlint // The error is nil while it runs.
	return fmt.Errorf("the %s %s (%v); the end of its log:\n  %s", c.name, what, c.err, strings.Join(c.tail, "\n  "))
}

// stop ends it in good order and returns how it ended. It may be called more than once.
func (c *child) stop() error {
	select {
	case <-c.ended:
	default:
		if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("end the %s: %w", c.name, err)
		}
	}
	select {
	case <-c.ended:
	case <-time.After(endTimeout + 10*time.Second):
		_ = c.cmd.Process.Kill() // then its end is a failure, which is reported below
		<-c.ended
	}
	c.reading.Wait()
	c.mu.Lock()
	err := c.err
	c.mu.Unlock()
	if err != nil {
		return c.failure("did not end in good order")
	}
	return nil
}

// listen is the address that it serves at: a worker its health and metrics, that of the operators their page.
func (c *child) listen() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.address
}
