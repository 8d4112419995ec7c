//go:build !unix

package bench

import "syscall"

// ownGroup starts a process as any other where there are no groups.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }
