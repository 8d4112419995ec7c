package schedules

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
)

// wire is a network in memory between machines and providers.
type wire struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newWire() *wire { return &wire{conns: make(chan net.Conn), done: make(chan struct{})} }

// conn is the providers' end of a connection; it knows whose the other end is.
type conn struct {
	net.Conn
	from *machine
}

func (w *wire) Accept() (net.Conn, error) {
	select {
	case c := <-w.conns:
		return c, nil
	case <-w.done:
		return nil, net.ErrClosed
	}
}

func (w *wire) Close() error {
	w.once.Do(func() { close(w.done) })
	return nil
}

type wireAddr struct{}

func (wireAddr) Network() string { return "wire" }
func (wireAddr) String() string  { return "wire" }

func (w *wire) Addr() net.Addr { return wireAddr{} }

func (w *wire) dial(ctx context.Context, m *machine) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case w.conns <- conn{far, m}:
		return near, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-w.done:
		return nil, errRefused
	}
}

var errRefused = &net.OpError{Op: "dial", Net: "wire", Err: syscall.ECONNREFUSED}

type machineKey struct{}

// ServeHTTP hands a request to the provider that its host names, unless its machine dies at it.
func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	m := r.Context().Value(machineKey{}).(*machine)
	provider, _, _ := strings.Cut(r.Host, ".")
	i, ok := m.begin()
	if !ok {
		panic(http.ErrAbortHandler) // it never left
	}
	if i != nil && !i.after && i.what == dies {
		m.befalls(i)
		panic(http.ErrAbortHandler)
	}
	w.watch(m, r)
	a := &answer{ResponseWriter: rw, hides: i != nil && i.what == dies}
	a.before = func() {
		if i != nil && i.what != stalls { // an answer that stalls on the wire is one of the simulator's faults
			m.befalls(i)
		}
	}
	defer func() {
		w.story.add(m.name, r.Method+" "+provider+r.URL.Path, nil, a.said())
	}()
	w.providers[provider].ServeHTTP(a, r)
}

// answer passes an answer on, or hides it from a machine that dies before it comes.
type answer struct {
	http.ResponseWriter
	hides  bool
	before func()
	status int
}

func (a *answer) WriteHeader(status int) {
	a.status = status
	a.before()
	if a.hides {
		panic(http.ErrAbortHandler)
	}
	a.ResponseWriter.WriteHeader(status)
}

// Unwrap lets the simulator take the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) said() string {
	if a.status == 0 {
		return "(no answer)"
	}
	return http.StatusText(a.status)
}
