//go:build unix && !linux

package mongodb

import "syscall"

// serverAttr puts a server into a process group of its own, out of reach of the terminal's signals. That it does not
// outlive this process is left to the cleaner.
func serverAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

// awaitStop does not wait: there is no way to ask without taking the child's end from whoever waits for it.
func awaitStop(int) error { return nil }
