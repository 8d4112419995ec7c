package httpapi_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/outboxd/outboxd/cmd/api/httpapi"
	"github.com/outboxd/outboxd/providers/simulator"
)

// The shop switches providers off and on. Faults that somebody else scripted stay.
func TestSimulatorsAreSwitched(t *testing.T) {
	sims, err := simulator.Start(simulator.Config{}, simulator.Addrs{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sims.Close)
	other := simulator.Fault{Provider: simulator.ProviderStripe, Route: "confirm", Do: simulator.DoStatus, Status: 503, Match: simulator.Match{To: "cus_x", Times: 7}}
	if err := sims.Sim.AddFaults(other); err != nil {
		t.Fatal(err)
	}
	control, err := url.Parse(sims.StripeURL)
	if err != nil {
		t.Fatal(err)
	}
	a := start(t).with(httpapi.Config{Simulator: control})
	status := func() string {
		resp, err := http.Get(sims.SendGridURL + "/v3/messages")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.Status[:3]
	}
	for _, c := range []struct{ change, want, sendgrid string }{
		{``, `[{"name":"stripe","off":false},{"name":"sendgrid","off":false},{"name":"twilio","off":false}]`, "401"},
		{`{"name":"sendgrid","off":true}`, `[{"name":"stripe","off":false},{"name":"sendgrid","off":true},{"name":"twilio","off":false}]`, "503"},
		{`{"name":"sendgrid","off":true}`, `[{"name":"stripe","off":false},{"name":"sendgrid","off":true},{"name":"twilio","off":false}]`, "503"},
		{`{"name":"twilio","off":true}`, `[{"name":"stripe","off":false},{"name":"sendgrid","off":true},{"name":"twilio","off":true}]`, "503"},
		{`{"name":"sendgrid","off":false}`, `[{"name":"stripe","off":false},{"name":"sendgrid","off":false},{"name":"twilio","off":true}]`, "401"},
		{`{"name":"twilio","off":false}`, `[{"name":"stripe","off":false},{"name":"sendgrid","off":false},{"name":"twilio","off":false}]`, "401"},
	} {
		if c.change != "" {
			if ans := a.do("POST", "/simulator", c.change); ans.status != http.StatusOK || !strings.Contains(ans.text, c.want) {
				t.Errorf("%s: %d %s", c.change, ans.status, ans.text)
			}
		}
		if ans := a.do("GET", "/simulator", ""); !strings.Contains(ans.text, c.want) {
			t.Errorf("after %s: %s", c.change, ans.text)
		}
		if got := status(); got != c.sendgrid {
			t.Errorf("after %s SendGrid answers %s, want %s", c.change, got, c.sendgrid)
		}
	}
	left := sims.Sim.Faults()
	if len(left) != 1 || left[0].Fault.Match.To != "cus_x" || left[0].Left != 7 {
		t.Errorf("the faults are %+v", left)
	}
	for name, c := range map[string]struct {
		body    string
		headers []string
		status  int
	}{
		"another site":    {`{"name":"stripe","off":true}`, []string{"Sec-Fetch-Site", "cross-site"}, http.StatusForbidden},
		"a form":          {`name=stripe`, []string{"Content-Type", "text/plain"}, http.StatusUnsupportedMediaType},
		"nobody":          {`{"name":"paypal","off":true}`, nil, http.StatusBadRequest},
		"no JSON":         {`x`, nil, http.StatusBadRequest},
		"a large request": {strings.Repeat(" ", 70_000), nil, http.StatusRequestEntityTooLarge},
	} {
		if ans := a.do("POST", "/simulator", c.body, c.headers...); ans.status != c.status {
			t.Errorf("%s: %d %s", name, ans.status, ans.text)
		}
	}
	sims.Close()
	if ans := a.do("GET", "/simulator", ""); ans.status != http.StatusServiceUnavailable {
		t.Errorf("the simulators are away: %d %s", ans.status, ans.text)
	}
}
