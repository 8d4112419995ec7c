//go:build unix

package providers

import (
	"net"
	"syscall"
)

// closedByPeer reports whether a kept connection has come to its end, or holds something that nobody asked for, such
// as a farewell. It looks without taking anything away, for net/http is reading at the same time.
func closedByPeer(c net.Conn) bool {
	sys, ok := c.(syscall.Conn)
	if !ok { // a network in memory
		return false
	}
	raw, err := sys.SyscallConn()
	if err != nil {
		return true
	}
	var quiet bool
	// Control and not Read: net/http holds the right to read while it waits for the connection's end.
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		for {
			_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK)
			if err == syscall.EINTR {
				continue
			}
			quiet = err == syscall.EAGAIN || err == syscall.EWOULDBLOCK
			return
		}
	})
	return err != nil || !quiet
}
