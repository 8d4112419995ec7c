package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"net/http"
	"slices"
	"testing"

	"github.com/outboxd/outboxd/providers/simulator"
)

// sim is the three providers, simulated by a process of their own.
type sim struct {
	*process
	Stripe, SendGrid, Twilio string
}

func startSim(tb testing.TB) *sim {
	tb.Helper()
	p := start(tb, environment(), "outboxd", "sim", "--stripe-port=0", "--sendgrid-port=0", "--twilio-port=0", "--json")
	s := &sim{process: p}
	line := p.find(p.out, "its base URLs", func(line string) bool { return line != "" })
	if err := json.Unmarshal([]byte(line), s); err != nil {
		tb.Fatalf("read the simulators' base URLs from %q: %v", line, err)
	}
	return s
}

// environment points a worker at the simulators.
func (s *sim) environment() []string {
	return []string{
		"STRIPE_API_KEY=sk_test_integration", "STRIPE_API_URL=" + s.Stripe,
		"SENDGRID_API_KEY=SG.integration", "SENDGRID_API_URL=" + s.SendGrid,
		"TWILIO_ACCOUNT_SID=AC0123456789abcdef0123456789abcdef", "TWILIO_AUTH_TOKEN=integration", "TWILIO_API_URL=" + s.Twilio,
	}
}

// control asks the simulators' control endpoints.
func (s *sim) control(method, path string, body, answer any) {
	s.tb.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		s.tb.Fatal(err)
	}
	req, err := http.NewRequestWithContext(s.tb.Context(), method, s.Stripe+"/_sim/"+path, bytes.NewReader(data))
	if err != nil {
		s.tb.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // no connection outlives the test
	resp, err := client.Do(req)
	if err != nil {
		s.tb.Fatalf("ask the simulators for %s: %v", path, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		s.tb.Fatalf("ask the simulators for %s: %s %s, error %v", path, resp.Status, text, err)
	}
	if answer != nil {
		if err := json.Unmarshal(text, answer); err != nil {
			s.tb.Fatalf("read the simulators' answer to %s: %v", path, err)
		}
	}
}

func (s *sim) fail(faults ...simulator.Fault) {
	s.tb.Helper()
	s.control(http.MethodPost, "faults", faults, nil)
}

func (s *sim) effects() []simulator.Effect {
	s.tb.Helper()
	var list []simulator.Effect
	s.control(http.MethodGet, "effects", nil, &list)
	return list
}

// tally counts the effects of each intent.
type tally map[string]int

// of returns how many effects an intent had. A text message does not carry its intent's id, unless the worker is told
// where Twilio shall call back; the number tells whose it is.
func (t tally) of(id string) int { return t[id] + t[phone(id)] }

func (s *sim) tally() tally {
	s.tb.Helper()
	count := make(tally)
	for _, e := range s.effects() {
		if e.OutboxID == "" {
			count[e.To]++
		} else {
			count[e.OutboxID]++
		}
	}
	return count
}

// phone returns a number of an intent's own.
func phone(id string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id)) // a hash takes everything
	return fmt.Sprintf("+4915%010d", h.Sum32())
}

// unmet returns the scripted faults that have not been used up.
func (s *sim) unmet() []simulator.FaultState {
	s.tb.Helper()
	var left []simulator.FaultState
	s.control(http.MethodGet, "faults", nil, &left)
	return slices.DeleteFunc(left, func(f simulator.FaultState) bool { return f.Left == 0 })
}

// faultsMet waits until every scripted fault is used up.
func (s *sim) faultsMet() {
	s.tb.Helper()
	eventually(s.tb, "every fault is met by a request", func() bool { return len(s.unmet()) == 0 })
}

// forget takes back the faults that are left.
func (s *sim) forget() {
	s.tb.Helper()
	s.control(http.MethodDelete, "faults", nil, nil)
}
