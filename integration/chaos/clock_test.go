//go:build chaos

package main

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"
)

// clockPatience is how far a clock may be from what was asked for: the time to read it, on a machine that is busy.
const clockPatience = 30 * time.Second

// A build whose clocks can be wrong shows the time that it is told, also where that changes while it runs, and its
// timers stay right. The simulators, which are part of outboxd, show their time in every answer.
func TestClocksAreWrong(t *testing.T) {
	dir := t.TempDir()
	program, err := build(t.Context(), dir, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, clock string
		want        time.Duration
	}{
		{"right", "", 0},
		{"slow", "-180 -180 0", -3 * time.Minute},
		{"fast, and set much later", "240 0 1000", 4 * time.Minute},
		{"set while it runs", "-180 240 1", 4 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			urls := make(chan string, 1)
			p, err := startProcess(program, []string{"sim", "--stripe-port=0", "--sendgrid-port=0", "--twilio-port=0", "--json"},
				environment(clockVariable+"="+c.clock), dir+"/log", true, func(line string) {
					select {
					case urls <- line:
					default:
					}
				})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := p.stop(stopTimeout); err != nil {
					t.Error(err)
				}
			}()
			var at struct{ Stripe string }
			select {
			case line := <-urls:
				if err := json.Unmarshal([]byte(line), &at); err != nil {
					t.Fatal(err)
				}
			case <-p.ended:
				t.Fatal("it ended before it served")
			}
			var off time.Duration
			if !within(patience, func() bool {
				off = time.Until(shownTime(t, at.Stripe+"/_sim/healthz"))
				return (off - c.want).Abs() < clockPatience
			}) {
				t.Errorf("it is off by %v, want %v", off, c.want)
			}
		})
	}
	// Nobody listens there, so it waits for as long as it is told to, by its timers.
	began := time.Now()
	p, err := startProcess(program, []string{"worker", "--connect-timeout", "1s"}, environment(clockVariable+"=-180 240 0",
		"OUTBOXD_MONGODB_URI=mongodb://127.0.0.1:1/?replicaSet=none", "STRIPE_API_KEY=sk_test_clock"), dir+"/log", false, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	<-p.ended
	if took := time.Since(began); p.code == 0 || took < time.Second || took > patience {
		t.Errorf("it ended with %d after %v, want a failure after 1s", p.code, took)
	}
}

// shownTime asks for an answer's Date.
func shownTime(t *testing.T, url string) time.Time {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	at, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		t.Fatal(err)
	}
	return at
}
