package httpapi_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/cmd/api/httpapi"
	"github.com/outboxd/outboxd/cmd/api/payments"
)

// A client that asks too much is told when to come back. Nobody else is slower for it.
func TestClientsAreLimitedEachForItself(t *testing.T) {
	a := start(t).with(httpapi.Config{Limits: httpapi.Limits{Rate: 1, Burst: 20}, ClientHeader: "X-Real-IP"})
	var all sync.WaitGroup
	var mu sync.Mutex
	statuses := make(map[int]int)
	const greedy = 10_000
	handler := a.app.Handler()
	for range 8 {
		all.Go(func() {
			for range greedy / 8 {
				r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/payments/pay_x", nil)
				r.Header.Set("X-Real-IP", "192.0.2.1")
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, r)
				if w.Code == http.StatusTooManyRequests {
					if n, err := strconv.Atoi(w.Header().Get("Retry-After")); err != nil || n < 1 || w.Header().Get("RateLimit-Remaining") != "0" {
						t.Errorf("the header is %v", w.Header())
					}
				}
				mu.Lock()
				statuses[w.Code]++
				mu.Unlock()
			}
		})
	}
	for range 10 {
		began := time.Now()
		ans := a.do("POST", "/payments", good, "X-Real-IP", "192.0.2.2")
		if ans.status != http.StatusAccepted || time.Since(began) > 2*time.Second {
			t.Errorf("another client got %d %s after %v", ans.status, ans.text, time.Since(began))
		}
	}
	all.Wait()
	if statuses[422]+statuses[429] != greedy || statuses[422] < 20 || statuses[422] > 200 {
		t.Errorf("the greedy client got %v", statuses)
	}
}

func TestRateLimitHeaders(t *testing.T) {
	a := start(t).with(httpapi.Config{Limits: httpapi.Limits{Rate: 0.001, Burst: 3}, ClientHeader: "X-Real-IP"})
	for i, c := range []struct {
		address, remaining string
		status             int
	}{
		{"192.0.2.1", "2", 422}, {"192.0.2.1", "1", 422}, {"192.0.2.1", "0", 422}, {"192.0.2.1", "0", 429},
		{"192.0.2.9, 192.0.2.1", "0", 429}, // what the proxy adds is last
		{"192.0.2.1, 192.0.2.9", "2", 422},
		{"2001:db8::1", "2", 422}, {"2001:db8::ffff:2", "1", 422}, {"2001:db8:0:1::1", "2", 422}, // a subscriber has a network
		{"::ffff:192.0.2.1", "0", 429},
		{"nonsense", "2", 422},
	} {
		ans := a.do("GET", "/payments/pay_x", "", "X-Real-IP", c.address)
		if ans.status != c.status || ans.header.Get("RateLimit-Remaining") != c.remaining || ans.header.Get("RateLimit-Limit") != "3" || ans.header.Get("RateLimit-Reset") == "" {
			t.Errorf("request %d: %d %v", i, ans.status, ans.header)
		}
	}
	// Who watches over the process, and the providers, are not limited; nothing else is free.
	for path, limited := range map[string]bool{"/healthz": false, "/readyz": false, "/": true, "/docs": true} {
		resp, err := a.http.Get(a.url + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := resp.Header.Get("RateLimit-Limit") != ""; got != limited {
			t.Errorf("%s is limited: %v", path, got)
		}
	}
}

// Beyond the bound a request is refused at once. Who only sends slowly takes no place.
func TestWorkIsBounded(t *testing.T) {
	holding, proceed := make(chan struct{}), make(chan struct{})
	var once sync.Once
	monitor := &event.CommandMonitor{Started: func(_ context.Context, e *event.CommandStartedEvent) {
		if e.CommandName == "insert" && e.Command.Lookup("insert").StringValue() == payments.Collection {
			once.Do(func() { close(holding); <-proceed })
		}
	}}
	a := start(t, options.Client().SetMonitor(monitor)).with(httpapi.Config{Limits: httpapi.Limits{Rate: 1e6, Burst: 1e6, Working: 1}})
	slow, send := io.Pipe()
	slowly := make(chan int, 1)
	go func() {
		resp, err := http.Post(a.url+"/payments", "application/json", slow)
		if err != nil {
			t.Error(err)
			return
		}
		resp.Body.Close()
		slowly <- resp.StatusCode
	}()
	if _, err := send.Write([]byte(good[:10])); err != nil {
		t.Fatal(err)
	}
	first := make(chan answer, 1)
	go func() {
		ans, err := a.try("POST", "/payments", good)
		if err != nil {
			t.Error(err)
		}
		first <- ans
	}()
	<-holding
	for _, c := range []struct{ method, path, body string }{{"POST", "/payments", good}, {"GET", "/payments/pay_aaaaaaaaaaaaaaaaaaaaaaaaaa", ""}} {
		began := time.Now()
		ans := a.do(c.method, c.path, c.body)
		if ans.status != http.StatusServiceUnavailable || ans.header.Get("Retry-After") == "" || time.Since(began) > time.Second {
			t.Errorf("%s while one works: %d %s after %v", c.method, ans.status, ans.text, time.Since(began))
		}
	}
	close(proceed)
	if ans := <-first; ans.status != http.StatusAccepted {
		t.Errorf("the one that works: %d %s", ans.status, ans.text)
	}
	if _, err := send.Write([]byte(good[10:])); err != nil {
		t.Error(err)
	}
	send.Close()
	if status := <-slowly; status != http.StatusAccepted {
		t.Errorf("the slow one: %d", status)
	}
	for range 3 { // each gives its place back
		if ans := a.do("GET", "/payments/pay_aaaaaaaaaaaaaaaaaaaaaaaaaa", ""); ans.status != http.StatusUnprocessableEntity {
			t.Errorf("afterwards: %d %s", ans.status, ans.text)
		}
	}
}

// A body that does not arrive in time is the request's fault, and no business.
func TestABodyThatDoesNotArrive(t *testing.T) {
	a := start(t)
	for want, err := range map[int]error{http.StatusRequestTimeout: os.ErrDeadlineExceeded, http.StatusBadRequest: io.ErrUnexpectedEOF} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/payments", io.MultiReader(strings.NewReader(good[:10]), iotest.ErrReader(err)))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		a.app.Handler().ServeHTTP(w, r)
		if w.Code != want || w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%v: %d %s", err, w.Code, w.Body)
		}
	}
}
