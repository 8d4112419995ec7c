package mongodb

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// awaitStop waits until every thread of a child has stopped. It leaves the child's end to whoever waits for that.
func awaitStop(pid int) error {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WSTOPPED|unix.WNOWAIT, nil)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, unix.EINTR):
			return fmt.Errorf("wait until process %d has stopped: %w", pid, err)
		}
	}
}

// serverAttr puts a server into a process group of its own, out of reach of the terminal's signals, and has the kernel
// kill it when the thread that starts it ends.
func serverAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
