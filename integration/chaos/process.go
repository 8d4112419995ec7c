package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// process is a child with one goroutine that waits for it. Its output goes to a file; its lines are read on the way.
type process struct {
	cmd     *exec.Cmd
	started time.Time
	ended   chan struct{}
	at      time.Time // of its end; to be read once ended is closed, as code
	code    int
}

// startProcess starts a program. line is told each line of its standard error, or of its standard output where out is
// true. Where the system allows it the child is killed when the harness ends, however that happens; Linux binds that
// to the thread that started it, so the goroutine keeps its thread.
func startProcess(path string, args, env []string, logPath string, out bool, line func(string)) (*process, error) {
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open a log: %w", err)
	}
	p := &process{cmd: exec.Command(path, args...), ended: make(chan struct{})}
	p.cmd.Env, p.cmd.SysProcAttr = env, attributes()
	pipe := p.cmd.StderrPipe
	if p.cmd.Stdout = log; out {
		p.cmd.Stdout, p.cmd.Stderr = nil, log
		pipe = p.cmd.StdoutPipe
	}
	lines, err := pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", path, err), log.Close())
	}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer log.Close()
		p.started = time.Now()
		err := p.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		reader := bufio.NewReader(io.TeeReader(lines, log))
		for {
			text, err := reader.ReadString('\n')
			if text = strings.TrimSpace(text); text != "" {
				line(text)
			}
			if err != nil {
				break
			}
		}
		_ = p.cmd.Wait() // its exit code says all there is to say
		p.at, p.code = time.Now(), p.cmd.ProcessState.ExitCode()
		close(p.ended)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	return p, nil
}

func (p *process) signal(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %v: %w", s, err)
	}
	return nil
}

// stop tells the process to end and kills it if it does not.
func (p *process) stop(within time.Duration) error {
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.ended:
		return nil
	case <-time.After(within):
		err := p.signal(syscall.SIGKILL)
		<-p.ended
		return errors.Join(fmt.Errorf("%s did not end within %v of being told to", p.cmd.Path, within), err)
	}
}

// environment is what a program gets of the harness's own environment: nothing that configures it.
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
