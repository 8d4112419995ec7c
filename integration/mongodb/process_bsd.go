//go:build unix && !linux

package mongodb

import "syscall"

// serverAttr puts a server into a process group of its own, out of reach of the terminal's signals. That it does not
// outlive this process is left to the cleaner.
func serverAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
