//go:build unix

package mongodb

import "syscall"

// pause returns when the process has stopped. On a busy machine some of its threads go on for a moment after the
// signal.
func (p *process) pause() error {
	if err := p.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	return awaitStop(p.cmd.Process.Pid)
}

func (p *process) resume() error { return p.signal(syscall.SIGCONT) }
