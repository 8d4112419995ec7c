package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/outboxd/outboxd/cmd/api/httpapi"
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
