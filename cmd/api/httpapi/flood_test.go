package httpapi_test

import (
	"context"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outboxd/outboxd/cmd/api/httpapi"
)

const (
	floodRate  = 10_000 // requests a second of one client, as far as the machine can send them
	floodCalls = 60     // of the other client, each way
	// floodWorth is how many requests a second make a flood. On two cores that do nothing else it is above 5,000.
	floodWorth = 1000
	// floodSlower bounds the other client's median, against its median without a flood. Client, server and MongoDB
	// share the machine here, and with the race detector all of them are slow.
	floodSlower = 10
	floodLeast  = 50 * time.Millisecond
)

// One client that sends ten thousand requests a second over real connections is limited. Another one is served as
// before.
func TestAFloodOfOneClientHarmsNoOther(t *testing.T) {
	a := start(t).with(httpapi.Config{Limits: httpapi.Limits{Rate: 100, Burst: 200}, ClientHeader: "X-Real-IP"})
	calm := a.medianOfOrders(t)

	var sent, limited, served, odd atomic.Int64
	ctx, end := context.WithCancel(t.Context())
	defer end()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 32}}
	defer client.CloseIdleConnections()
	due := make(chan struct{}, floodRate/100)
	var all sync.WaitGroup
	all.Go(func() { // what cannot be sent in time is left out
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				close(due)
				return
			case <-tick.C:
			}
			for range floodRate / 100 {
				select {
				case due <- struct{}{}:
				default:
				}
			}
		}
	})
	for range 32 {
		all.Go(func() {
			for range due {
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url+"/payments/pay_x", nil)
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("X-Real-IP", "192.0.2.1")
				resp, err := client.Do(req)
				if err != nil {
					continue // the test is over
				}
				_, _ = io.Copy(io.Discard, resp.Body) // so that the connection is kept
				_ = resp.Body.Close()
				sent.Add(1)
				switch resp.StatusCode {
				case http.StatusTooManyRequests:
					limited.Add(1)
				case http.StatusUnprocessableEntity: // there is no such payment
					served.Add(1)
				default:
					odd.Add(1)
				}
			}
		})
	}
	began := time.Now()
	flooded := a.medianOfOrders(t)
	end()
	all.Wait()
	took := time.Since(began)

	t.Logf("%d requests in %v: %d limited, %d served; another client's median %v, without a flood %v",
		sent.Load(), took, limited.Load(), served.Load(), flooded, calm)
	if most := int64(200+100*took.Seconds()) + 100; served.Load() > most || odd.Load() > 0 || limited.Load() == 0 {
		t.Errorf("%d served, want at most %d; %d limited, %d otherwise", served.Load(), most, limited.Load(), odd.Load())
	}
	if float64(sent.Load()) < floodWorth*took.Seconds() {
		t.Logf("THIS MACHINE IS TOO BUSY FOR A FLOOD, fewer than %d requests a second: the other client's times tell nothing", floodWorth)
		return
	}
	if flooded > max(floodSlower*calm, floodLeast) {
		t.Errorf("another client's median is %v during the flood, %v without it", flooded, calm)
	}
}

// medianOfOrders places orders, one after the other, and returns how long one takes.
func (a *api) medianOfOrders(t *testing.T) time.Duration {
	t.Helper()
	var all []time.Duration
	for range floodCalls {
		began := time.Now()
		if ans := a.do("POST", "/payments", good, "X-Real-IP", "192.0.2.2"); ans.status != http.StatusAccepted {
			t.Fatalf("another client got %d %s", ans.status, ans.text)
		}
		all = append(all, time.Since(began))
	}
	slices.Sort(all)
	return all[len(all)/2]
}
