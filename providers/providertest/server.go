package providertest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// floodSize is what a flood would send to somebody who reads it all.
const floodSize = 1 << 30

// Server answers requests by a script, one reply after another. It speaks HTTP by hand, so that it can fail at any
// point. It keeps connections, as the real servers do.
type Server struct {
	URL string

	listener net.Listener
	conns    sync.WaitGroup
	flooded  atomic.Int64

	mu       sync.Mutex
	open     map[net.Conn]bool
	script   []Reply
	next     int
	requests []Request
}

// Request is one request that reached the server.
type Request struct {
	Method, Path string
	Header       http.Header
	Body         string
}

// NewServer starts a server on loopback; it is closed at the end of the test.
func NewServer(tb testing.TB) *Server {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s := &Server{URL: "http://" + listener.Addr().String(), listener: listener, open: map[net.Conn]bool{}}
	s.conns.Go(s.accept)
	tb.Cleanup(s.close)
	return s
}

// Script sets the replies to the next requests and forgets the requests so far.
func (s *Server) Script(replies ...Reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script, s.next, s.requests = replies, 0, nil
}

// Requests returns the requests since the last Script.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.requests...)
}

// StopListening refuses new connections.
func (s *Server) StopListening() { _ = s.listener.Close() } // closing twice is what the end of the test does

func (s *Server) close() {
	s.StopListening()
	s.mu.Lock()
	for conn := range s.open {
		_ = conn.Close() // the other side may have closed it
	}
	s.mu.Unlock()
	s.conns.Wait()
}

func (s *Server) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.open[conn] = true
		s.mu.Unlock()
		s.conns.Go(func() {
			s.serve(conn)
			_ = conn.Close() // the other side may have closed it
			s.mu.Lock()
			delete(s.open, conn)
			s.mu.Unlock()
		})
	}
}

// serve answers the requests of one connection until it breaks or a fault ends it.
func (s *Server) serve(conn net.Conn) {
	r := bufio.NewReader(conn)
	for {
		if _, err := r.Peek(1); err != nil {
			return
		}
		reply := s.take()
		if reply.Fault == ResetUnread {
			s.record(Request{})
			reset(conn)
			return
		}
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		s.record(Request{Method: req.Method, Path: req.URL.RequestURI(), Header: req.Header, Body: string(body)})
		if reply.Then != nil {
			reply.Then()
		}
		if !s.answer(conn, r, reply) {
			return
		}
	}
}

// take returns the next reply. Beyond the script's end the last one is given again, so that a repeated request is
// counted and does not hang.
func (s *Server) take() Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.script) == 0 {
		return Reply{Status: http.StatusTeapot}
	}
	reply := s.script[min(s.next, len(s.script)-1)]
	s.next++
	return reply
}

func (s *Server) record(r Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r)
}

// answer writes one reply; false ends the connection.
func (s *Server) answer(conn net.Conn, r *bufio.Reader, reply Reply) bool {
	switch reply.Fault {
	case Hang:
		_, _ = r.Peek(1) // returns when the client has gone
		return false
	case ResetRead:
		reset(conn)
		return false
	case Drop:
		return false
	case None, ResetUnread, Truncate, Stall, Flood: // they answer, or were dealt with before
	}
	var head bytes.Buffer
	now := time.Now().Add(reply.Skew).UTC()
	fmt.Fprintf(&head, "HTTP/1.1 %d Scripted\r\nDate: %s\r\n", reply.Status, now.Format(http.TimeFormat))
	for name, value := range reply.Header {
		fmt.Fprintf(&head, "%s: %s\r\n", name, instant(value, now))
	}
	if reply.Fault == Flood {
		head.WriteString("Connection: close\r\n\r\n")
		s.flood(conn, &head)
		return false
	}
	body := reply.Body
	if reply.Status == http.StatusNoContent || reply.Status == http.StatusNotModified {
		body = ""
	} else {
		fmt.Fprintf(&head, "Content-Length: %d\r\n", len(body))
	}
	head.WriteString("\r\n")
	if reply.Fault == Truncate || reply.Fault == Stall {
		head.WriteString(body[:len(body)/2])
		_, _ = conn.Write(head.Bytes()) // a client that has gone is what the row may be about
		if reply.Fault == Stall {
			_, _ = r.Peek(1) // returns when the client has gone
		}
		return false
	}
	head.WriteString(body)
	_, err := conn.Write(head.Bytes())
	return err == nil
}

// instant resolves the two forms of a header's value that stand for a time.
func instant(value string, now time.Time) string {
	form, offset, ok := strings.Cut(value, "+")
	seconds, err := strconv.Atoi(offset)
	at := now.Add(time.Duration(seconds) * time.Second)
	switch {
	case ok && err == nil && form == "@epoch":
		return strconv.FormatInt(at.Unix(), 10)
	case ok && err == nil && form == "@date":
		return at.Format(http.TimeFormat)
	default:
		return value
	}
}

func (s *Server) flood(conn net.Conn, head *bytes.Buffer) {
	chunk := bytes.Repeat([]byte("flood "), 10_000)
	written := int64(0)
	for _, err := conn.Write(head.Bytes()); err == nil && written < floodSize; {
		var n int
		n, err = conn.Write(chunk)
		written += int64(n)
	}
	s.flooded.Add(written)
}

// reset closes a connection by RST.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // it fails only on a connection that is gone already
	}
	_ = conn.Close()
}
