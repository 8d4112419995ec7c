//go:build unix && !linux

package main

import "syscall"

// attributes put a child into a process group of its own, out of reach of the terminal's signals.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
