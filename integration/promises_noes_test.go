package integration

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// A base URL with a path of an API's version is wrong configuration, and said at start.
func TestABaseURLWithAVersionIsRefusedAtStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brief)
	w.insert(charge("charge"), email("email"), sms("sms"))
	for variable, urls := range map[string][]string{
		"STRIPE_API_URL":   {"/v1", "/v1/", "/v2", "/proxy/v1", "/v1/payment_intents"},
		"SENDGRID_API_URL": {"/v3", "/v3/", "/mail/v3", "/v3/mail/send"},
		"TWILIO_API_URL":   {"/2010-04-01", "/2010-04-01/", "/2010-04-01/Accounts", "/twilio/2010-04-01"},
	} {
		for _, path := range urls {
			code, text := w.try([]string{variable + "=" + w.sim.Stripe + path}, "worker", "--until-empty")
			if code != 2 || !strings.Contains(text, variable) {
				t.Errorf("a worker with %s=…%s ends with %d, want 2, and names the variable: %s", variable, path, code, text)
			}
		}
	}
	// All of them at once are one answer.
	code, text := w.try([]string{"STRIPE_API_URL=" + w.sim.Stripe + "/v1", "SENDGRID_API_URL=" + w.sim.SendGrid + "/v3", "TWILIO_API_URL=" + w.sim.Twilio + "/2010-04-01"}, "worker")
	if code != 2 || !strings.Contains(text, "STRIPE_API_URL") || !strings.Contains(text, "SENDGRID_API_URL") || !strings.Contains(text, "TWILIO_API_URL") {
		t.Errorf("a worker with three wrong URLs ends with %d, want 2, and names all: %s", code, text)
	}
	if n := w.count(bson.D{{Key: "status", Value: "pending"}}); n != 3 {
		t.Errorf("%d of 3 intents are pending", n)
	}
}

// What something between the worker and the provider answers is no answer of the provider's, whatever its status: it
// kills no intent, and when it is gone everything is done.
func TestAnAnswerThatIsNotTheProvidersKillsNothing(t *testing.T) {
	t.Parallel()
	type page struct{ contentType, body string }
	nginx := page{"text/html", "<html><head><title>%[1]d</title></head><body><center><h1>%[1]d</h1></center><hr><center>nginx</center></body></html>"}
	kong := page{"application/json", `{"message":"no Route matched with those values"}`}
	cloud := page{"application/json", `{"error":"blocked","status":%d}`}
	plain := page{"text/plain", "Request Entity Too Large"}
	for _, c := range []struct {
		status int
		page
	}{
		{400, nginx}, {404, kong}, {405, nginx}, {413, plain}, {451, cloud}, {404, page{"text/html", ""}}, {422, cloud}, {431, plain},
	} {
		t.Run(fmt.Sprint(c.status, " ", c.contentType), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, brief)
			var gone atomic.Bool
			between := func(to string) string {
				return serve(t, func(rw http.ResponseWriter, r *http.Request) {
					body, err := io.ReadAll(r.Body)
					if err != nil {
						return
					}
					if gone.Load() {
						forward(to, rw, r, body)
						return
					}
					rw.Header().Set("Content-Type", c.contentType)
					rw.WriteHeader(c.status)
					text := c.body
					if strings.Contains(text, "%") {
						text = fmt.Sprintf(text, c.status)
					}
					_, _ = rw.Write([]byte(text))
				})
			}
			w.secrets = []string{"STRIPE_API_URL=" + between(w.sim.Stripe), "SENDGRID_API_URL=" + between(w.sim.SendGrid), "TWILIO_API_URL=" + between(w.sim.Twilio)}
			for kind, of := range makers {
				w.insert(of(kind+"-1"), of(kind+"-2"))
			}
			w.worker()
			eventually(t, "each kind has met it", func() bool {
				for kind := range makers {
					if w.count(bson.D{{Key: "kind", Value: kind}, {Key: "last_error.code", Value: bson.D{{Key: "$exists", Value: true}}}}) == 0 {
						return false
					}
				}
				return true
			})
			for kind := range makers {
				for _, n := range []string{"-1", "-2"} {
					in := w.get(kind + n)
					if in.Status == "dead" || in.Status == "done" || !in.AmbiguousAt.IsZero() || in.LastError.Code != "" && in.LastError.Code != "not_the_provider" {
						t.Errorf("%s%s is %s, ambiguous since %v, with %+v; want it to wait with the code not_the_provider", kind, n, in.outcome(), in.AmbiguousAt, in.LastError)
					}
				}
			}
			gone.Store(true)
			w.waitFor("all are done", 2*len(makers), bson.D{{Key: "status", Value: "done"}})
			w.once(2*len(makers), true)
		})
	}
}

// The provider itself says that it does not know the path on which things are created: a wrong base URL, not a wrong
// intent.
func TestAProviderThatDoesNotKnowThePathKillsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brief)
	unknown := func(status int, body string) string {
		return serve(t, func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Type", "application/json")
			rw.WriteHeader(status)
			_, _ = rw.Write([]byte(body))
		})
	}
	w.secrets = []string{
		"STRIPE_API_URL=" + unknown(404, `{"error":{"message":"Unrecognized request URL (POST: /v1/v1/payment_intents).","type":"invalid_request_error"}}`),
		"SENDGRID_API_URL=" + unknown(405, `{"errors":[{"message":"Method Not Allowed","field":null,"help":null}]}`),
		"TWILIO_API_URL=" + unknown(404, `{"code":20404,"message":"The requested resource was not found","more_info":"https://www.twilio.com/docs/errors/20404","status":404}`),
	}
	for kind, of := range makers {
		w.insert(of(kind+"-1"), of(kind+"-2"), of(kind+"-3"))
	}
	w.lanesAre(w.worker(), "held")
	if n := w.count(bson.D{{Key: "status", Value: "dead"}}); n > 0 {
		t.Errorf("%d intents died of a wrong base URL", n)
	}
}

// Each provider that is served is asked its harmless question once when a worker starts.
func TestAWorkerAsksItsProvidersAtStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brief)
	worker := w.worker()
	eventually(t, "each provider was asked", func() bool {
		return w.requests("stripe", "balance")+w.requests("stripe", "account") == 1 && w.requests("sendgrid", "scopes") == 1 && w.requests("twilio", "account") == 1
	})
	ready := w.scrape(worker, "/readyz")
	for _, provider := range []string{"stripe", "sendgrid", "twilio"} {
		if !strings.Contains(ready, provider) {
			t.Errorf("/readyz does not tell what %s answered: %s", provider, ready)
		}
	}
	worker.stop()
}
