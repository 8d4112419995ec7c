package mongodb

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
)

// process is a child of this process that has one goroutine waiting for it.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed after the child's end
	err  error         // how it ended; valid once done is closed
}

// startProcess starts cmd with the given attributes. If pidPath is not empty, that file holds the child's process id
// for as long as the child lives.
//
// Linux sends a child its parent-death signal when the *thread* that started it ends, not the process. So the goroutine
// that starts the child keeps its thread until the child has ended.
func startProcess(cmd *exec.Cmd, attr *syscall.SysProcAttr, pidPath string) (*process, error) {
	cmd.SysProcAttr = attr
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.done)
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		if pidPath != "" {
			// By the one who waits, so that the file never names a process that has been waited for: its id may
			// belong to another by then.
			if err := os.WriteFile(pidPath, strconv.AppendInt(nil, int64(cmd.Process.Pid), 10), 0o600); err != nil {
				started <- errors.Join(err, cmd.Process.Kill())
				_ = cmd.Wait() // It was killed, and says so.
				return
			}
			defer os.Remove(pidPath)
		}
		started <- nil
		p.err = cmd.Wait()
	}()
	if err := <-started; err != nil {
		<-p.done
		return nil, err
	}
	return p, nil
}

// running reports whether the child has not ended yet.
func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// signal sends the child a signal; one that has ended already is as good as one that got it.
func (p *process) signal(sig os.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}
