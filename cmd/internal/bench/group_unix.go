//go:build unix

package bench

import "syscall"

// ownGroup starts a process in a group of its own: an interrupt typed at the terminal is the run's to pass on.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
