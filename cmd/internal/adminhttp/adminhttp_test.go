package adminhttp_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/outboxd/outboxd/admin"
	"github.com/outboxd/outboxd/admin/api"
	"github.com/outboxd/outboxd/admin/auth"
	"github.com/outboxd/outboxd/cmd/internal/adminhttp"
)

// serve runs the whole on loopback. It returns the address, and what ends it.
func serve(t *testing.T, c auth.Config) string {
	t.Helper()
	c.Listen, c.BasePath = "127.0.0.1:0", "/ops"
	g, err := auth.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	a, err := api.New(api.Config{Service: admin.New(admin.Config{}), Actor: adminhttp.Actor, CursorKey: make([]byte, 16)})
	if err != nil {
		t.Fatal(err)
	}
	pages := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		actor, _ := adminhttp.Actor(r, admin.RoleRead)
		fmt.Fprintf(w, "page %s for %s %v", r.URL.Path, actor.Who, actor.Roles)
	})
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", c.Listen)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- adminhttp.Serve(ctx, ln, adminhttp.Handler(adminhttp.Parts{Guard: g, API: a.Handler(), Pages: pages, BasePath: c.BasePath}), 5*time.Second, slog.New(slog.DiscardHandler))
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}

// raw sends bytes as they are, and returns the status of the answer.
func raw(t *testing.T, address, request string) int {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = conn.Write([]byte(request)) // a server that has refused already may close first
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

func TestMountedBelowABasePath(t *testing.T) {
	address := serve(t, auth.Config{})
	for path, want := range map[string]int{
		"/ops/": 200, "/ops/dead?kind=sms": 200, "/ops/api/v1/nothing": 404, "/": 404, "/api/v1/overview": 404, "/opsapi/v1/overview": 404,
		"/ops/../ops/": 400, "/ops%2fdead": 400, "/ops//dead": 400,
	} {
		if got := raw(t, address, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); got != want {
			t.Errorf("GET %s: %d, want %d", path, got, want)
		}
	}
}

func TestHugeAndForgedRequests(t *testing.T) {
	address := serve(t, auth.Config{})
	million := strings.Repeat("a", 1_000_000)
	for name, c := range map[string]struct {
		request string
		want    int
	}{
		"filter of 10⁶ bytes":      {"GET /ops/intents?id=" + million + " HTTP/1.1\r\nHost: localhost\r\n\r\n", 431},
		"header of 10⁶ bytes":      {"GET /ops/ HTTP/1.1\r\nHost: localhost\r\nX-A: " + million + "\r\n\r\n", 431},
		"body that says 10⁶ bytes": {"POST /ops/api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n", 413},
		"no Host":                  {"GET /ops/ HTTP/1.1\r\n\r\n", 400},
		"two Hosts":                {"GET /ops/ HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", 400},
		"rebinding":                {"GET /ops/ HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421},
		"absolute form":            {"GET http://evil.example/ops/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 421},
		"two lengths":              {"POST /ops/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400},
		"CONNECT":                  {"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n", 400},
	} {
		if got := raw(t, address, c.request); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// Who never ends a header loses the connection, and others are served meanwhile.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	address := serve(t, auth.Config{})
	began := time.Now()
	var slow []net.Conn
	for range 100 {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("GET /ops/ HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")); err != nil {
			t.Fatal(err)
		}
		slow = append(slow, conn)
	}
	if got := raw(t, address, "GET /ops/ HTTP/1.1\r\nHost: localhost\r\n\r\n"); got != http.StatusOK {
		t.Errorf("beside slow clients: %d", got)
	}
	for _, conn := range slow {
		if err := conn.SetReadDeadline(began.Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("a slow client keeps its connection")
		}
	}
}
