package demo

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// answers is an API that gives one answer after the other; status 0 is a connection that breaks.
type answers struct {
	t      *testing.T
	status []int
	asked  int
	key    string
	order  string
}

func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	key := r.Header.Get("Idempotency-Key")
	if a.asked == 0 {
		a.key, a.order = key, string(body)
	}
	if key == "" || key != a.key || string(body) != a.order {
		a.t.Errorf("the order was repeated as another one: key %q, %s", key, body)
	}
	status := a.status[min(a.asked, len(a.status)-1)]
	a.asked++
	if status == 0 {
		return nil, errors.New("connection reset")
	}
	return &http.Response{StatusCode: status, Header: make(http.Header), Body: io.NopCloser(strings.NewReader(`{"id":"pay_1"}`)), Request: r}, nil
}

func TestOrdersAreRepeatedUnderTheirKey(t *testing.T) {
	t.Parallel()
	const refused = "answered"
	for name, c := range map[string]struct {
		status []int
		asked  int
		err    string
	}{
		"taken":              {[]int{202}, 1, ""},
		"the answer is lost": {[]int{0, 202}, 2, ""},
		"not now":            {[]int{503, 429, 409, 202}, 4, ""},
		"a wrong order":      {[]int{422}, 1, refused},
		"a broken API":       {[]int{500}, 1, refused},
		"never":              {[]int{503}, 20, "time is up"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeoutCause(t.Context(), 20*orderAgain-time.Millisecond, errors.New("time is up"))
				defer cancel()
				api := &answers{t: t, status: c.status}
				s := &stage{apiURL: "http://api.example", http: &http.Client{Transport: api}}
				id, err := s.order(ctx, role{&act{kind: "charge", card: goodCard}, 1})
				if api.asked != c.asked {
					t.Errorf("asked %d times, want %d", api.asked, c.asked)
				}
				switch {
				case c.err == "" && (err != nil || id != "charge:pay_1"):
					t.Errorf("got %q, %v", id, err)
				case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
					t.Errorf("got the error %v, want %q", err, c.err)
				}
			})
		})
	}
}
