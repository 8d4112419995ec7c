package integration

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/outboxd/outboxd/internal/timing"
)

// patience is how long a test waits for what should happen within moments, on a machine that runs everything at once.
const patience = time.Minute

// process is a program that runs beside the test. What it printed is shown if the test fails.
type process struct {
	tb     testing.TB
	name   string
	cmd    *exec.Cmd
	out    *lines
	errOut *lines
	ended  chan struct{}
	err    error // of Wait; to be read once ended is closed
}

// environment is what programs under test get of the test's own environment: nothing that configures them.
func environment(more ...string) []string {
	var env []string
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		own := false
		for _, prefix := range []string{"OUTBOX", "STRIPE_", "SENDGRID_", "TWILIO_", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
			own = own || strings.HasPrefix(name, prefix)
		}
		if !own {
			env = append(env, entry)
		}
	}
	return append(env, more...)
}

// start runs a program until it ends by itself, is told to, or the test ends, which kills it.
func start(tb testing.TB, env []string, name string, args ...string) *process {
	tb.Helper()
	p := &process{tb: tb, name: name + " " + args[0], out: newLines(), errOut: newLines(), ended: make(chan struct{})}
	p.cmd = exec.Command(program(tb, name), args...)
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = env, p.out, p.errOut
	if err := p.cmd.Start(); err != nil {
		tb.Fatalf("start %s: %v", p.name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		p.out.end()
		p.errOut.end()
		close(p.ended)
	}()
	tb.Cleanup(func() {
		p.kill()
		if tb.Failed() {
			tb.Logf("%s printed:\n%s%s", p.name, p.out.tail(), p.errOut.tail())
		}
	})
	return p
}

// kill ends the process as a power cut would, and waits for its end.
func (p *process) kill() {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.tb.Errorf("kill %s: %v", p.name, err)
	}
	<-p.ended
}

// stop tells the process to end in good order, and expects it to.
func (p *process) stop() {
	p.tb.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.tb.Fatalf("stop %s: %v", p.name, err)
	}
	p.succeed()
}

// code waits for the end of the process and returns its exit code.
func (p *process) code() int {
	p.tb.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.tb.Fatalf("%s did not end within %v", p.name, patience)
	}
	return p.cmd.ProcessState.ExitCode()
}

// succeed waits for the end of the process, with exit code 0.
func (p *process) succeed() {
	p.tb.Helper()
	if code := p.code(); code != 0 {
		p.tb.Fatalf("%s ended with exit code %d", p.name, code)
	}
}

// runProgram runs a program to its end and returns what it printed to standard output.
func runProgram(tb testing.TB, env []string, name string, args ...string) string {
	tb.Helper()
	p := start(tb, env, name, args...)
	p.succeed()
	return p.out.String()
}

// lines is what a process prints, as it prints it.
type lines struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	news chan struct{} // closed, and made anew, with each write
	over bool
}

func newLines() *lines { return &lines{news: make(chan struct{})} }

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.news)
	l.news = make(chan struct{})
	return l.buf.Write(p)
}

func (l *lines) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	close(l.news)
	l.news = make(chan struct{})
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// tail is the end of what was printed, since logs can be long.
func (l *lines) tail() string {
	const most = 16 << 10
	s := l.String()
	if len(s) > most {
		s = "…" + s[len(s)-most:]
	}
	return s
}

// find waits for a line that fits and returns it.
func (p *process) find(l *lines, what string, fits func(line string) bool) string {
	p.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		l.mu.Lock()
		text, news, over := l.buf.String(), l.news, l.over
		l.mu.Unlock()
		lines := bufio.NewReader(strings.NewReader(text))
		for {
			line, err := lines.ReadString('\n')
			if errors.Is(err, io.EOF) {
				break // what has no end yet is no line
			}
			if line = strings.TrimSuffix(line, "\n"); fits(line) {
				return line
			}
		}
		if over {
			p.tb.Fatalf("%s ended before it printed %s", p.name, what)
		}
		select {
		case <-news:
		case <-ctx.Done():
			p.tb.Fatalf("%s did not print %s within %v", p.name, what, patience)
		}
	}
}

// eventually asks again and again until the condition holds.
func eventually(tb testing.TB, what string, condition func() bool) {
	tb.Helper()
	eventuallyWithin(tb, patience, what, condition)
}

// lasts returns when a fault, or a time without any traffic, was long enough. It waits for nothing else to happen.
func lasts(tb testing.TB, d time.Duration) {
	tb.Helper()
	if err := timing.Sleep(tb.Context(), d); err != nil {
		tb.Fatal(err)
	}
}

// eventuallyWithin is eventually with another bound.
func eventuallyWithin(tb testing.TB, patience time.Duration, what string, condition func() bool) {
	tb.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline.C:
			tb.Fatalf("it did not happen within %v: %s", patience, what)
		}
	}
}
