package providers_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outboxd/outboxd/providers"
)

// quitter is a server that answers one request of a connection, keeps it as if for more, and ends it when it is told
// to.
type quitter struct {
	url      string
	requests atomic.Int64
	idle     chan net.Conn // the connection whose request was answered
	conns    sync.WaitGroup
	listener net.Listener
}

func newQuitter(t *testing.T, secure *tls.Config) *quitter {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	q := &quitter{url: "http://" + listener.Addr().String(), idle: make(chan net.Conn, 1), listener: listener}
	if secure != nil {
		q.url = "https://" + listener.Addr().String()
	}
	q.conns.Go(func() {
		for {
			raw, err := listener.Accept()
			if err != nil {
				return
			}
			q.conns.Go(func() { q.serve(raw, secure) })
		}
	})
	t.Cleanup(func() { _ = listener.Close(); q.conns.Wait() })
	return q
}

func (q *quitter) serve(raw net.Conn, secure *tls.Config) {
	defer raw.Close()
	conn := raw
	if secure != nil {
		conn = tls.Server(raw, secure)
	}
	r := bufio.NewReader(conn)
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return
		}
		q.requests.Add(1)
		if _, err := io.WriteString(conn, "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"); err != nil {
			return
		}
		q.idle <- conn
	}
}

// TestTransportMeetsConnectionsThatTheServerClosed makes 1,600 calls to servers that close the kept connection after
// each answer without a word. Every call has to reach the server once, and none may be in doubt.
func TestTransportMeetsConnectionsThatTheServerClosed(t *testing.T) {
	const calls = 200
	cert := httptest.NewTLSServer(nil)
	t.Cleanup(cert.Close)
	secure := &tls.Config{Certificates: cert.TLS.Certificates}
	closing := func(c net.Conn) { _ = c.Close() }
	for name, row := range map[string]struct {
		secure *tls.Config
		end    func(net.Conn)
	}{
		"closed": {nil, closing},
		"reset": {nil, func(c net.Conn) {
			_ = c.(*net.TCPConn).SetLinger(0)
			_ = c.Close()
		}},
		"with a farewell": {nil, func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
			_ = c.Close()
		}},
		"half closed":         {nil, func(c net.Conn) { _ = c.(*net.TCPConn).CloseWrite() }},
		"TLS":                 {secure, closing},
		"TLS without a word":  {secure, func(c net.Conn) { _ = c.(*tls.Conn).NetConn().Close() }},
		"TLS that is kept on": {secure, func(net.Conn) {}},
		"kept on":             {nil, func(net.Conn) {}},
	} {
		t.Run(name, func(t *testing.T) {
			server, transport := newQuitter(t, row.secure), newTrustingTransport(t, cert)
			for n := range calls {
				_, call, err := once(t.Context(), t, transport, server.url)
				if err != nil || call.Status() != http.StatusAccepted {
					t.Fatalf("call %d: %v; sent: %v", n, err, call.Sent())
				}
				row.end(<-server.idle)
			}
			if n := server.requests.Load(); n != calls {
				t.Errorf("%d requests reached the server, want %d", n, calls)
			}
		})
	}
}

// newTrustingTransport trusts the certificate of a test server.
func newTrustingTransport(t *testing.T, cert *httptest.Server) *providers.Transport {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(cert.Certificate())
	transport := newTransport(t)
	transport.Trust(roots)
	return transport
}

// once sends a tracked request that must not be repeated.
func once(ctx context.Context, t *testing.T, transport *providers.Transport, url string) (*http.Response, *providers.Call, error) {
	t.Helper()
	tracked, call := providers.Track(ctx)
	req, err := http.NewRequestWithContext(tracked, http.MethodPost, url, strings.NewReader("To=1"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.Client().Do(req)
	return resp, call, err
}

// TestTransportTrustsAKeptConnectionForAMoment lets a connection idle. Whether it is used again depends on how long it
// did, and on whether the request could be repeated if it were lost.
func TestTransportTrustsAKeptConnectionForAMoment(t *testing.T) {
	const moment = 500 * time.Millisecond
	for name, row := range map[string]struct {
		method, key string
		idle        time.Duration
		dials       int64
	}{
		"at once":                        {http.MethodPost, "", 0, 1},
		"within the moment":              {http.MethodPost, "", moment, 1},
		"after the moment":               {http.MethodPost, "", moment + time.Millisecond, 2},
		"after a second":                 {http.MethodPost, "", time.Second, 2},
		"after the moment, with a key":   {http.MethodPost, "k", moment + time.Millisecond, 1},
		"a question after ten seconds":   {http.MethodGet, "", 10 * time.Second, 1},
		"a question after half a minute": {http.MethodGet, "", 31 * time.Second, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var dials, requests atomic.Int64
				transport := providers.NewTransport(providers.TransportConfig{Dial: func(context.Context, string, string) (net.Conn, error) {
					dials.Add(1)
					client, server := net.Pipe()
					go func() {
						defer server.Close()
						r := bufio.NewReader(server)
						for {
							req, err := http.ReadRequest(r)
							if err != nil {
								return
							}
							if _, err := io.Copy(io.Discard, req.Body); err != nil {
								return
							}
							requests.Add(1)
							if _, err := io.WriteString(server, "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"); err != nil {
								return
							}
						}
					}()
					return client, nil
				}})
				defer transport.CloseIdleConnections()
				for range 2 {
					req, err := http.NewRequestWithContext(t.Context(), row.method, "http://provider.invalid/", nil)
					if row.method == http.MethodPost {
						req, err = http.NewRequestWithContext(t.Context(), row.method, "http://provider.invalid/", strings.NewReader("To=1"))
					}
					if err != nil {
						t.Fatal(err)
					}
					if row.key != "" {
						req.Header.Set("Idempotency-Key", row.key)
					}
					if _, err := transport.Client().Do(req); err != nil {
						t.Fatal(err)
					}
					time.Sleep(row.idle)
				}
				if dials.Load() != row.dials || requests.Load() != 2 {
					t.Errorf("%d connections for %d requests, want %d for 2", dials.Load(), requests.Load(), row.dials)
				}
			})
		})
	}
}

// TestTransportSendsEachRequestOnce has many calls share few connections, with answers that have no body: net/http
// gives such an answer out after it has given the connection back, so that the next request may have taken that over
// already.
func TestTransportSendsEachRequestOnce(t *testing.T) {
	const callers, calls = 32, 150
	var mu sync.Mutex
	arrived := make(map[string]int)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		arrived[string(body)]++
		mu.Unlock()
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(server.Close)
	transport := newTransport(t)
	var all sync.WaitGroup
	for caller := range callers {
		all.Go(func() {
			for n := range calls {
				tracked, call := providers.Track(t.Context())
				req, err := http.NewRequestWithContext(tracked, http.MethodPost, server.URL, strings.NewReader(fmt.Sprint(caller, " ", n)))
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := transport.Client().Do(req); err != nil || call.Status() != http.StatusAccepted {
					t.Errorf("call %d of %d: %v", n, caller, err)
					return
				}
			}
		})
	}
	all.Wait()
	if len(arrived) != callers*calls {
		t.Errorf("%d requests arrived, want %d", len(arrived), callers*calls)
	}
	for body, n := range arrived {
		if n != 1 {
			t.Errorf("request %s arrived %d times", body, n)
		}
	}
}
