package page_test

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/admin"
	"github.com/outboxd/outboxd/outbox"
)

func (lines) Diagnose(context.Context) ([]admin.Line, error) {
	return []admin.Line{{Check: "indexes", OK: true, Text: goodLine}, {Check: "clock", Text: badLine}}, nil
}

func at(name string) string { return "/i/" + base64.RawURLEncoding.EncodeToString([]byte(name)) }

// fill puts something into every view.
func (w *world) fill() {
	w.Helper()
	ctx := w.Context()
	w.insert("waits", nil)
	w.insert("parked", dead("ambiguous", "ambiguous", "no_answer"))
	w.insert("opted-out", dead("permanent", "permanent", "opted_out"))
	w.insert("exhausted", dead("exhausted", "transient", "unavailable"))
	w.insert("order-7:done:0", bson.M{"kind": "email", "status": "done", "due_at": nil, "done_at": time.Now(), "purge_at": time.Now().Add(time.Hour), "attempts": 1,
		"payload": bson.M{"to": "kim@example.com", "from": "shop@example.com", "subject": "Your order", "text": "Thank you, Kim"}, "result": bson.M{"provider": "sendgrid", "id": "msg-1", "status": "accepted"}})
	_, err := w.store.Heartbeat(ctx, outbox.Worker{Name: "vm-1", Kinds: []string{"charge", "email", "sms"}, InFlight: map[string]int{"sms": 2}, Started: time.Now(), Version: "1.2.3"})
	w.must(err)
	w.must(w.store.Hold(ctx, "sms", "unauthorized"))
	_, err = w.store.TakeCensus(ctx, "vm-1", []string{"charge", "email", "sms"})
	w.must(err)
	minute := time.Now().Truncate(time.Minute).Add(-2 * time.Minute)
	counters := outbox.RateCounters{Claimed: 1140, Done: 1140, Dead: 6}
	w.must(w.store.AddRates(ctx, []outbox.RateMinute{{Minute: minute, Kind: "charge", RateCounters: counters}}))
}

func TestViews(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill()
	for path, wants := range map[string][]string{
		"/":                                 {"sms is held", "a person must say whether they were sent", "done in the last hour: 1,140", base + "/intents?kind=sms&amp;reason=ambiguous&amp;status=dead"},
		"/?live=off":                        {"Updates are off", `href="` + base + `/"`},
		"/intents":                          {"Choose a status", "waiting"},
		"/intents?kind=sms&status=dead":     {">parked<", ">opted-out<", "order=o7", `name="letter"`, "Plan a retry of all that fit"},
		"/intents?q=par":                    {">parked<"},
		"/intents?q=order%3Do7&status=dead": {">parked<"},
		"/intents?meta.order=o7":            {">waits<", `value="order=o7"`},
		"/intents?kind=sms":                 {">waits<"},
		"/intents?status=done&kind=email":   {">order-7:done:0<"},
		at("waits"):                         {"What happens next", "refused our credentials", "UTC</time>. A worker probes every minute", "+49•••••678", "Its life", "the producer inserted it", "Not now:"},
		at("parked"):                        {"This waits for a person", "then answer with <code>outboxd resolve</code>", "Say whether it was sent", "attempt 1: no_answer", "HTTP 503", "request req_1", "41 ms", "worker vm-1"},
		at("order-7:done:0"):                {"msg-1", `href="` + base + at("order-7") + `"`, "https://app.sendgrid.com/"},
		"/dead":                             {"unavailable", "opted_out", "Plan retry", "Answer one by one", base + "/dead/plan?code=unavailable&amp;kind=sms&amp;op=retry&amp;reason=exhausted"},
		"/dead/plan?op=retry&kind=sms&code=unavailable": {"of kind sms, code unavailable", `name="why"`, "Dry run", "First 1, then 10, then 100"},
		"/jobs":    {"There are no jobs"},
		"/lanes":   {"held", "unauthorized", "Pause", "Resume", "Slow a lane down", "Take the rate back"},
		"/rates":   {"1,140 done, 6 dead"},
		"/workers": {"vm-1", "1.2.3", "sms 2"},
		"/audit":   {"No act is recorded"},
		"/doctor":  {goodLine, badLine, "✗ fails"},
	} {
		a := w.get(path)
		if err := a.has(wants...); err != nil || a.status != http.StatusOK {
			t.Errorf("%s: %v", path, err)
		}
		if strings.Contains(a.body, "<script>") || strings.Contains(a.body, " style=") || strings.Contains(a.body, " on") && regexp.MustCompile(`<[^>]* on[a-z]+=`).MatchString(a.body) {
			t.Errorf("%s has script or style in its markup", path)
		}
		if !strings.Contains(a.body, `<html lang="en">`) || !strings.Contains(a.body, "<h1>") {
			t.Errorf("%s is no page", path)
		}
	}
}

func TestWhatIsNotThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for path, status := range map[string]int{
		"/nothing": 404, at("nobody"): 404, "/i/!": 404, "/jobs/none": 404, "/intents?meta=x": 400, "/intents?since=tomorrow": 400, "/intents?status=odd": 400,
		"/intents?status=dead&after=forged": 400, "/intents?code=x&status=done": 422, "/rates?hours=7": 400, "/audit?after=x": 400, "/assets/0-app.css": 404,
		"/dead/plan?letter=!": 400,
	} {
		if a := w.get(path); a.status != status {
			t.Errorf("%s: %d, want %d:\n%s", path, a.status, status, a.body)
		}
	}
	if a := w.get(at("waits") + "/cancel"); a.status != http.StatusSeeOther || a.header.Get("Location") != base+at("waits") {
		t.Errorf("the address of a form: %d to %s", a.status, a.header.Get("Location"))
	}
	if a := w.ask("", "GET", "/", nil); a.status != http.StatusUnauthorized {
		t.Errorf("nobody got %d", a.status)
	}
}

// A position is good for the list that it came from, and pages meet without a gap.
func TestPagesOfAList(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 120 {
		w.insert("letter-"+string(rune('a'+i/26))+string(rune('a'+i%26)), dead("exhausted", "transient", "unavailable"))
	}
	next := regexp.MustCompile(`href="` + base + `([^"]*)" rel="next"`)
	seen := make(map[string]bool)
	path, pages := "/intents?status=dead&kind=sms", 0
	for path != "" {
		a := w.get(path)
		for _, m := range regexp.MustCompile(`>(letter-[a-z]{2})</a>`).FindAllStringSubmatch(a.body, -1) {
			if seen[m[1]] {
				t.Errorf("%s is on two pages", m[1])
			}
			seen[m[1]] = true
		}
		path = ""
		if m := next.FindStringSubmatch(a.body); m != nil {
			path = strings.ReplaceAll(m[1], "&amp;", "&")
			if pages++; pages == 1 {
				if a := w.get(strings.Replace(path, "kind=sms", "kind=email", 1)); a.status != http.StatusBadRequest {
					t.Errorf("another list takes the position: %d", a.status)
				}
			}
		}
	}
	if len(seen) != 120 || pages != 2 {
		t.Errorf("saw %d letters on %d pages", len(seen), pages+1)
	}
}

// What htmx asks for is the part that changes, and it is the same as on the whole page.
func TestFragments(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill()
	for _, path := range []string{"/", at("waits"), "/dead", "/lanes", "/workers"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.server.URL+base+path, nil)
		w.must(err)
		req.Header.Set("Role", "read")
		req.Header.Set("HX-Request", "true")
		a := w.send(w.server.Client(), req)
		if !strings.HasPrefix(a.body, `<div id="live" hx-get="`+base+path+`"`) || strings.Contains(a.body, "<html") {
			t.Errorf("%s: %.300s", path, a.body)
		}
		if vary := a.header.Get("Vary"); vary != "HX-Request" {
			t.Errorf("%s: Vary is %q", path, vary)
		}
	}
}

// Links are what this page writes: each answers, under the base path.
func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill()
	visited, list := map[string]bool{}, []string{"/"}
	for len(list) > 0 && len(visited) < 300 {
		path := list[0]
		list = list[1:]
		if visited[path] {
			continue
		}
		visited[path] = true
		a := w.get(path)
		if a.status != http.StatusOK && path != at("order-7") && !strings.HasPrefix(path, "/i/") {
			t.Errorf("%s: %d", path, a.status)
		}
		for _, m := range regexp.MustCompile(`(?:href|src)="([^"]*)"`).FindAllStringSubmatch(a.body, -1) {
			link := strings.ReplaceAll(m[1], "&amp;", "&")
			if u, err := url.Parse(link); err != nil || u.Host != "" || strings.HasPrefix(link, "#") {
				continue
			}
			inside, ok := strings.CutPrefix(link, base)
			if !ok {
				t.Errorf("%s links to %s, which is not under the base path", path, link)
			}
			list = append(list, inside)
		}
	}
	if len(visited) < 40 {
		t.Errorf("only %d links were found", len(visited))
	}
}
