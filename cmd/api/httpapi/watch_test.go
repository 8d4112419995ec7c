package httpapi_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/cmd/api/httpapi"
	"github.com/outboxd/outboxd/cmd/api/payments"
)

func paid() bson.D {
	return bson.D{{Key: "state", Value: "paid"}, {Key: "receipt", Value: bson.D{{Key: "provider", Value: "stripe"}, {Key: "id", Value: "pi_1"}, {Key: "status", Value: "succeeded"}}}}
}

// What the worker writes back is what GET shows, and nothing of the customer's.
func TestStatesAreShown(t *testing.T) {
	a := start(t)
	for _, c := range []struct {
		set  bson.D
		want []string
	}{
		{paid(), []string{`"state":"paid"`, `"receipt":{"provider":"stripe","id":"pi_1"}`, `{"channel":"email","about":"receipt","state":"pending"}`}},
		{bson.D{{Key: "state", Value: "failed"}, {Key: "failure", Value: bson.D{{Key: "reason", Value: "permanent"}, {Key: "code", Value: "declined"}}}},
			[]string{`"state":"failed"`, `"failure":{"reason":"permanent","code":"declined"}`, "Please use another card"}},
		{bson.D{{Key: "state", Value: "checking"}}, []string{`"state":"checking"`, "We are checking your payment"}},
		{append(paid(), bson.E{Key: "failure", Value: nil}, bson.E{Key: "delivery.receipt_email.state", Value: "sent"}), []string{`{"channel":"email","about":"receipt","state":"sent"}`}},
	} {
		id := a.order()
		a.set(id, c.set)
		got := a.do(http.MethodGet, "/payments/"+id, "")
		for _, want := range c.want {
			if !strings.Contains(got.text, want) {
				t.Errorf("GET shows %s, want %s in it", got.text, want)
			}
		}
		for _, secret := range []string{"ada@", "+49", "pm_card", "cus_1", "fingerprint"} {
			if strings.Contains(got.text, secret) {
				t.Errorf("GET shows %s: %s", secret, got.text)
			}
		}
	}
}

// A client that waits is answered when the state changes, not before and not at the end of its time.
func TestLongPolling(t *testing.T) {
	a := start(t)
	id := a.order()
	answers := make([]answer, 5)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() {
			var err error
			if answers[i], err = a.try("GET", "/payments/"+id+"?wait=30s", ""); err != nil {
				t.Error(err)
			}
		})
	}
	a.set(id, bson.D{{Key: "delivery.failure_email.state", Value: "sent"}}) // no change of state
	if ans := a.do("GET", "/payments/"+id+"?wait=1s", ""); ans.body.State != payments.StatePending {
		t.Errorf("after a second: %d %s", ans.status, ans.text)
	}
	began := time.Now()
	a.set(id, paid())
	all.Wait()
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the answers came %v after the change", took)
	}
	for _, ans := range answers {
		if ans.status != http.StatusOK || ans.body.State != payments.StatePaid {
			t.Errorf("a waiting client got %d %s", ans.status, ans.text)
		}
	}
	if ans := a.do("GET", "/payments/"+id+"?wait=30s", ""); ans.body.State != payments.StatePaid { // would take the test's time
		t.Errorf("of a final state: %s", ans.text)
	}
}

// reader reads a stream of events.
type reader struct {
	t     *testing.T
	lines *bufio.Scanner
	resp  *http.Response
}

func (a *api) stream(id string) *reader {
	a.t.Helper()
	resp, err := a.http.Get(a.url + "/payments/" + id + "/events")
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		a.t.Fatalf("GET events: %s, %v", resp.Status, resp.Header)
	}
	return &reader{a.t, bufio.NewScanner(resp.Body), resp}
}

// next returns the next event, empty at the end of the stream.
func (r *reader) next() (name string, v payments.View) {
	r.t.Helper()
	for r.lines.Scan() {
		line := r.lines.Text()
		if n, ok := strings.CutPrefix(line, "event: "); ok {
			name = n
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			if err := json.Unmarshal([]byte(data), &v); err != nil {
				r.t.Fatalf("read the event %q: %v", data, err)
			}
			return name, v
		}
	}
	return name, v
}

// A stream shows each step, and says when nothing more will come.
func TestEvents(t *testing.T) {
	a := start(t)
	id := a.order()
	r := a.stream(id)
	for i, step := range []struct {
		set  bson.D
		want func(payments.View) bool
	}{
		{nil, func(v payments.View) bool { return v.State == payments.StatePending && len(v.Messages) == 0 }},
		{paid(), func(v payments.View) bool { return v.State == payments.StatePaid && len(v.Messages) == 2 }},
		{bson.D{{Key: "delivery.receipt_email.state", Value: "sent"}}, func(v payments.View) bool { return v.Messages[0].State == "sent" && v.Messages[1].State == "pending" }},
		{bson.D{{Key: "delivery.receipt_sms.state", Value: "sent"}}, func(v payments.View) bool { return v.Messages[1].State == "sent" }},
	} {
		if step.set != nil {
			a.set(id, step.set)
		}
		if name, v := r.next(); name != "payment" || v.ID != id || !step.want(v) {
			t.Errorf("event %d is %s %+v", i, name, v)
		}
	}
	if name, _ := r.next(); name != "end" {
		t.Errorf("the last event is %q", name)
	}
	if name, _ := r.next(); name != "" {
		t.Errorf("after the end came %q", name)
	}
	if ans := a.do(http.MethodHead, "/payments/"+id+"/events", ""); ans.status != http.StatusOK {
		t.Errorf("HEAD: %d", ans.status)
	}
}

// When the API stops, those who wait are answered at once, and streams end.
func TestWaitingEndsWithTheAPI(t *testing.T) {
	a := start(t)
	id := a.order()
	address, stop := serving(t, a)
	a.url = "http://" + address
	r := a.stream(id)
	if name, _ := r.next(); name != "payment" {
		t.Errorf("the first event is %q", name)
	}
	polled := make(chan answer, 1)
	go func() {
		ans, err := a.try("GET", "/payments/"+id+"?wait=30s", "")
		if err != nil {
			t.Error(err)
		}
		polled <- ans
	}()
	waitFor(t, a, `outbox_api_waiting 2`)
	began := time.Now()
	if err := stop(); err != nil {
		t.Error(err)
	}
	if ans := <-polled; ans.status != http.StatusOK || ans.body.State != payments.StatePending {
		t.Errorf("the waiting client got %d %s", ans.status, ans.text)
	}
	if name, _ := r.next(); name != "" {
		t.Errorf("the stream went on with %q", name)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("stopping took %v", took)
	}
}

// A client may let so many requests wait, and no more; then there is room again.
func TestWaitingIsBounded(t *testing.T) {
	a := start(t)
	id := a.order()
	for name, c := range map[string]struct {
		limits httpapi.Limits
		status int
	}{
		"of one client": {httpapi.Limits{Rate: 1e6, Burst: 1e6, Streams: 2}, http.StatusTooManyRequests},
		"of all":        {httpapi.Limits{Rate: 1e6, Burst: 1e6, Waiting: 2}, http.StatusServiceUnavailable},
	} {
		b := a.with(httpapi.Config{Limits: c.limits})
		first, second := b.stream(id), b.stream(id)
		for _, path := range []string{"/payments/" + id + "/events", "/payments/" + id + "?wait=5s"} {
			if ans := b.do("GET", path, ""); ans.status != c.status || ans.header.Get("Retry-After") == "" {
				t.Errorf("%s, %s: %d %s", name, path, ans.status, ans.text)
			}
		}
		if ans := b.do("GET", "/payments/"+id, ""); ans.status != http.StatusOK {
			t.Errorf("%s, without waiting: %d %s", name, ans.status, ans.text)
		}
		_ = first.resp.Body.Close()
		_ = second.resp.Body.Close()
		waitFor(t, b, `outbox_api_waiting 0`)
		if ans := b.do("HEAD", "/payments/"+id+"/events", ""); ans.status != http.StatusOK {
			t.Errorf("%s, after they left: %d", name, ans.status)
		}
	}
}

// waitFor asks for the metrics until a line is there.
func waitFor(t *testing.T, a *api, line string) {
	t.Helper()
	for range 10_000 {
		text := a.metrics()
		if strings.Contains(text, line+"\n") {
			return
		}
	}
	t.Fatalf("the metrics never had %q", line)
}
