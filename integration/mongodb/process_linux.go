package mongodb

import "syscall"

// serverAttr puts a server into a process group of its own, out of reach of the terminal's signals, and has the kernel
// kill it when the thread that starts it ends.
func serverAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
