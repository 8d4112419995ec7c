package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"
)

func TestSimPrintsItsAddressesAndServes(t *testing.T) {
	t.Parallel()
	for _, asJSON := range []bool{false, true} {
		ctx, stop := context.WithCancel(t.Context())
		read, write := io.Pipe()
		args := []string{"sim", "--stripe-port", "0", "--sendgrid-port", "0", "--twilio-port", "0"}
		if asJSON {
			args = append(args, "--json")
		}
		ended := make(chan int, 1)
		go func() { ended <- run(ctx, args, nil, strings.NewReader(""), write, io.Discard) }()

		urls := make(map[string]string)
		lines := bufio.NewReader(read)
		if asJSON {
			line, _ := lines.ReadString('\n')
			if err := json.Unmarshal([]byte(line), &urls); err != nil || len(urls) != 3 {
				t.Fatalf("got %q: %v", line, err)
			}
		} else {
			for range 3 {
				line, _ := lines.ReadString('\n')
				name, url, _ := strings.Cut(strings.TrimSpace(line), "=")
				urls[name] = url
			}
			for _, name := range []string{"STRIPE_API_URL", "SENDGRID_API_URL", "TWILIO_API_URL"} {
				if urls[name] == "" {
					t.Errorf("%s is missing in %v", name, urls)
				}
			}
		}
		for name, url := range urls {
			if code, body := get(t, url+"/_sim/effects"); code != 200 {
				t.Errorf("%s: %d %s", name, code, body)
			}
		}
		stop()
		if code := <-ended; code != exitDone {
			t.Errorf("exit code %d", code)
		}
	}
}

func TestSimOnATakenPortIsAFailure(t *testing.T) {
	w := emptyWorld(t)
	port := w.sim.StripeURL[strings.LastIndex(w.sim.StripeURL, ":")+1:]
	r := must(t, exitFailed, nil, "sim", "--stripe-port", port, "--sendgrid-port", "0", "--twilio-port", "0")
	if !strings.Contains(r.err, "choose another address") {
		t.Errorf("got %s", r.err)
	}
}
