package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
)

// ownForm is a listener whose connections give certain answers in the API's own form. net/http gives these before any
// handler runs: to a request line or a header that cannot be read, or that is too large. net/http writes plain text
// there, in one piece.
type ownForm struct{ net.Listener }

// Accept wraps the connection.
func (l ownForm) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return ownFormConn{conn}, nil
}

type ownFormConn struct{ net.Conn }

// plainError is how an answer of net/http's own goes on after its status line. No handler's answer does: it has a date.
var plainError = []byte("\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n")

// Write replaces an answer of net/http's own. It reports the bytes it was given.
func (c ownFormConn) Write(data []byte) (int, error) {
	own, ok := inOwnForm(data)
	if !ok {
		return c.Conn.Write(data)
	}
	if _, err := c.Conn.Write(own); err != nil {
		return 0, err
	}
	return len(data), nil
}

func inOwnForm(data []byte) ([]byte, bool) {
	line, after, found := bytes.Cut(data, []byte("\r\n"))
	if !found || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) || len(line) < len("HTTP/1.1 400") || !bytes.HasPrefix(append([]byte("\r\n"), after...), plainError) {
		return nil, false
	}
	status, err := strconv.Atoi(string(line[9:12]))
	if err != nil || status < 400 {
		return nil, false
	}
	detail := "the request could not be read"
	if status == http.StatusRequestHeaderFieldsTooLarge {
		detail = fmt.Sprintf("the header must have at most %d bytes", maxHeader)
	}
	body, err := json.Marshal(transport(status, "%s", detail))
	if err != nil {
		return nil, false
	}
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: application/problem+json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		status, http.StatusText(status), len(body), body), true
}
