package page_test

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/admin"
	"github.com/outboxd/outboxd/admin/auth"
	"github.com/outboxd/outboxd/outbox"
)

const operator = "read,operate"

func (w *world) status(id string) outbox.Status {
	w.Helper()
	in, err := w.desk.Look(w.Context(), id)
	w.must(err)
	return in.Status
}

func TestChangesOfOneIntent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.insert("waits", nil)
	w.insert("exhausted", dead("exhausted", "transient", "unavailable"))
	w.insert("old", dead("exhausted", "transient", "unavailable"))
	w.insert("parked", dead("ambiguous", "ambiguous", "no_answer"))
	for _, c := range []struct {
		id, op string
		form   []string
		status int
		says   string
		after  outbox.Status
	}{
		{"exhausted", "retry", []string{"why", " "}, 422, "say why", outbox.StatusDead},
		{"exhausted", "retry", []string{"why", "it works again"}, 200, "It is pending again.", outbox.StatusPending},
		{"exhausted", "retry", []string{"why", "once more"}, 422, "it is pending, not dead", outbox.StatusPending},
		{"parked", "retry", []string{"why", "x"}, 422, "nobody knows whether the provider acted", outbox.StatusDead},
		{"parked", "resolve", []string{"why", "x"}, 400, "say whether it was sent", outbox.StatusDead},
		{"parked", "resolve", []string{"why", "x", "sent", "yes"}, 422, "needs the provider&#39;s reference", outbox.StatusDead},
		{"parked", "resolve", []string{"why", "x", "sent", "yes", "evidence", "SM1"}, 200, "Your answer is recorded.", outbox.StatusDone},
		{"parked", "ask", nil, 422, "has no keys of the provider", outbox.StatusDone},
		{"old", "discard", []string{"why", "nobody wants it"}, 200, "It is discarded.", outbox.StatusCancelled},
		{"waits", "cancel", []string{"why", "the order was cancelled"}, 200, "It is cancelled", outbox.StatusCancelled},
		{"waits", "explode", []string{"why", "x"}, 404, "there is no such page", outbox.StatusCancelled},
		{"nobody", "cancel", []string{"why", "x"}, 404, "", ""},
	} {
		a := w.post(operator, at(c.id)+"/"+c.op, c.form...)
		if err := a.has(c.says); err != nil || a.status != c.status {
			t.Errorf("%s %s: %d, want %d: %v", c.op, c.id, a.status, c.status, err)
		}
		if c.after != "" && w.status(c.id) != c.after {
			t.Errorf("%s left %s %s, want %s", c.op, c.id, w.status(c.id), c.after)
		}
	}
	if err := w.get(at("exhausted")).has("it works again", "made pending again by ann", ">refused <small>"); err != nil {
		t.Error(err)
	}
	if err := w.get("/audit").has("it works again", "nobody wants it", "dead (exhausted) → pending"); err != nil {
		t.Error(err)
	}
}

// prober is a provider that has two candidates, whose texts are hostile.
type prober struct{}

func (prober) Ask(context.Context, *outbox.Intent) (admin.Evidence, error) {
	return admin.Evidence{At: time.Now(), Provider: "twilio", Text: "Two messages may be it.", Candidates: []admin.Candidate{
		{ID: "SM1", At: time.Now(), Status: "delivered", Text: "+49•••••678"}, {ID: "SM2" + hostile[0], At: time.Now(), Status: hostile[1], Text: hostile[6]}}}, nil
}

func TestEvidence(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.service.Prober = prober{}
	w.insert("parked", dead("ambiguous", "ambiguous", "no_answer"))
	a := w.post(operator, at("parked")+"/ask")
	if err := a.has("Two messages may be it.", "<code>SM1</code>", "<span>delivered +49•••••678</span>", "Say whether it was sent"); err != nil {
		t.Error(err)
	}
	if err := harmless(a.body); err != nil {
		t.Error(err)
	}
}

func TestLanes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, c := range []struct{ op, kind, why, says string }{
		{"pause", "sms", "", "say why"}, {"pause", "fax", "x", "is no kind"}, {"pause", "sms", "trouble", "The lane is paused on every worker."},
		{"resume", "sms", "over", "The lane is open."}, {"resume", "sms", "over", "The lane was neither paused nor held."}, {"blow", "sms", "x", "not one of this page"},
	} {
		if err := w.post(operator, "/lanes", "op", c.op, "kind", c.kind, "why", c.why).has(c.says); err != nil {
			t.Errorf("%s %s: %v", c.op, c.kind, err)
		}
	}
	for _, c := range []struct{ op, rate, why, says string }{
		{"rate-off", "", "x", "No rate was set."}, {"rate", "", "x", "a number of calls a second"}, {"rate", "0", "x", "a number of calls a second"},
		{"rate", "NaN", "x", "at least one an hour"}, {"rate", "5", "", "say why"}, {"rate", " 0.5 ", "the carrier asked", "The rate is set on every worker."},
	} {
		if err := w.post(operator, "/lanes", "op", c.op, "kind", "sms", "rate", c.rate, "why", c.why).has(c.says); err != nil {
			t.Errorf("%s %q: %v", c.op, c.rate, err)
		}
	}
	if err := w.get("/lanes").has("30/m: the carrier asked ("); err != nil {
		t.Error(err)
	}
	if err := w.get("/").has("sms is slowed down to 30/m", "<dd>30/m</dd>"); err != nil {
		t.Error(err)
	}
	if err := w.post(operator, "/lanes", "op", "rate-off", "kind", "sms", "rate", "", "why", "over").has("keeps to its configured rate again"); err != nil {
		t.Error(err)
	}
}

// A bulk retry from the group to its end, with what is refused by name, and a second person where money is at stake.
func TestBulkRetry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.service.Approval = 2
	for _, id := range []string{"a", "b", "c"} {
		w.insert(id, with(dead("exhausted", "transient", "unavailable"), bson.M{"kind": "charge",
			"payload": bson.M{"amount": 4200, "currency": "eur", "customer": "cus_1", "payment_method": "pm_1"}}))
	}
	w.insert("late", with(dead("exhausted", "transient", "unavailable"), bson.M{"kind": "charge", "expires_at": time.Now().Add(-time.Minute),
		"payload": bson.M{"amount": 4200, "currency": "eur", "customer": "cus_1", "payment_method": "pm_1"}}))
	filter := []string{"op", "retry", "kind", "charge", "code", "unavailable"}
	plan := func(more ...string) answer { return w.post(operator, "/dead/plan", append(filter, more...)...) }
	for _, c := range [][]string{{"why", ""}, {"why", "x", "rate", "fast"}, {"why", "x", "rate", "-1"}, {"why", "x", "since", "soon"}, {"why", "x", "even", "1"}} {
		if a := plan(c...); a.status < 400 || !strings.Contains(a.body, "Nothing was changed:") || !strings.Contains(a.body, `name="code" value="unavailable"`) {
			t.Errorf("%v: %d\n%s", c, a.status, a.body)
		}
	}
	if a := w.post(operator, "/dead/plan", "op", "retry", "why", "all of it"); a.status != http.StatusUnprocessableEntity {
		t.Errorf("a job over everything: %d", a.status)
	}
	a := plan("why", "it works again", "rate", "100")
	if err := a.has("Nothing has been changed yet", "3 charges: 126.00 EUR", "1: their time is over", "second person", "no worker serves charge"); err != nil {
		t.Fatal(err)
	}
	job := regexp.MustCompile(`/jobs/(job-[a-z0-9]+)`).FindStringSubmatch(a.body)[1]
	for _, step := range []struct{ roles, op, why, says string }{
		{operator, "start", "", "a second person has to approve"}, {"read,approve", "approve", "fine", "who planned a job cannot approve it"},
	} {
		if err := w.post(step.roles, "/jobs/"+job+"/"+step.op, "why", step.why).has(step.says); err != nil {
			t.Error(err)
		}
	}
	_, err := w.service.Approve(t.Context(), admin.Actor{Who: "bob", Roles: []admin.Role{admin.RoleRead, admin.RoleApprove}}, job, "fine")
	w.must(err)
	for _, step := range []struct{ op, says string }{{"start", "You have started the job."}, {"pause", "stands still"}, {"start", "You have started the job."}} {
		if err := w.post(operator, "/jobs/"+job+"/"+step.op, "why", "a look").has(step.says); err != nil {
			t.Error(err)
		}
	}
	if _, err := w.runner().Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.get("/jobs/"+job).has("3 of 3 retried", "1: their time is over", "approved by", "bob", ">done<", "it works again"); err != nil {
		t.Error(err)
	}
	for _, id := range []string{"a", "b", "c"} {
		if w.status(id) != outbox.StatusPending {
			t.Errorf("%s is %s", id, w.status(id))
		}
	}
	if w.status("late") != outbox.StatusDead || !strings.Contains(w.get("/jobs").body, job) {
		t.Error("what had expired was retried, or the job is not listed")
	}
	// Selected letters by name, to be discarded, and stopped before it began.
	a = w.post(operator, "/dead/plan", "op", "discard", "letter", at("late")[3:], "why", "too late")
	if err := a.has("1 dead letters by name", "Start: 1 will be discarded"); err != nil {
		t.Fatal(err)
	}
	job = regexp.MustCompile(`/jobs/(job-[a-z0-9]+)/start`).FindStringSubmatch(a.body)[1]
	if err := w.post(operator, "/jobs/"+job+"/stop", "why", "not now").has("The job has ended.", "stopped by ann"); err != nil {
		t.Error(err)
	}
}

// Masked everywhere; what is revealed is on that one answer, and on record.
func TestMasks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill()
	secret := []string{"4711", "15112345678", "kim@example.com", "Your order", "Thank you, Kim"}
	for _, path := range []string{"/", "/intents?status=waiting&kind=sms", "/intents?status=dead", "/intents?q=order", at("waits"), at("parked"), at("order-7:done:0"), "/dead", "/audit", "/lanes", "/jobs"} {
		for _, roles := range []string{"read", "read,operate,reveal,approve"} {
			a := w.ask(roles, "GET", path, nil)
			for _, text := range secret {
				if strings.Contains(a.body, text) {
					t.Errorf("%s shows %q to %s", path, text, roles)
				}
			}
		}
	}
	reveal := func(roles, why string) answer { return w.post(roles, at("waits")+"/reveal", "why", why) }
	if a := reveal("read,operate", "x"); a.status != http.StatusForbidden || strings.Contains(a.body, "4711") {
		t.Errorf("revealed without the role: %d", a.status)
	}
	if a := reveal("read,reveal", ""); a.status != http.StatusUnprocessableEntity || strings.Contains(a.body, "4711") {
		t.Errorf("revealed without a reason: %d", a.status)
	}
	a := reveal("read,reveal", "a customer asks")
	if err := a.has("code 4711", "+4915112345678"); err != nil || a.status != http.StatusOK || a.header.Get("Refresh") != "60; url="+base+at("waits") {
		t.Errorf("not revealed: %d %s %v", a.status, a.header.Get("Refresh"), err)
	}
	if strings.Contains(a.body, "kim@example.com") {
		t.Error("masked metadata was revealed as well")
	}
	if a := w.get(at("waits")); strings.Contains(a.body, "4711") {
		t.Error("it stays revealed")
	}
	if a := w.get("/audit"); a.has("reveal", "a customer asks") != nil || strings.Contains(a.body, "4711") {
		t.Error("the reveal is not on record, or its record shows the payload")
	}
}

// Who may not do something sees no form for it, and is refused without one.
func TestRoles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill()
	for _, path := range []string{"/", "/intents?status=dead&kind=sms", at("exhausted"), "/dead", "/lanes", "/jobs"} {
		a := w.ask("read", "GET", path, nil)
		if posts := regexp.MustCompile(`method="post" action="([^"]*)"`).FindAllStringSubmatch(a.body, -1); len(posts) != 1 || posts[0][1] != base+"/logout" {
			t.Errorf("%s has forms for who may only read: %v", path, posts)
		}
		if strings.Contains(a.body, "/dead/plan?") {
			t.Errorf("%s leads who may only read to a plan", path)
		}
		if a := w.ask("operate", "GET", path, nil); a.status != http.StatusForbidden {
			t.Errorf("%s without the role read: %d", path, a.status)
		}
	}
	for path, form := range map[string]url.Values{
		at("exhausted") + "/retry": {"why": {"x"}}, at("exhausted") + "/discard": {"why": {"x"}}, at("waits") + "/cancel": {"why": {"x"}},
		at("waits") + "/reveal": {"why": {"x"}}, "/lanes": {"op": {"pause"}, "kind": {"sms"}, "why": {"x"}},
		at("parked") + "/resolve": {"why": {"x"}, "sent": {"no"}}, at("parked") + "/ask": {}, "/dead/plan": {"why": {"x"}, "kind": {"sms"}},
	} {
		if a := w.ask("read", "POST", path, form); a.status != http.StatusForbidden {
			t.Errorf("POST %s by who may only read: %d", path, a.status)
		}
		if a := w.ask("", "POST", path, form); a.status != http.StatusUnauthorized {
			t.Errorf("POST %s by nobody: %d", path, a.status)
		}
	}
	if w.status("exhausted") != outbox.StatusDead || w.status("waits") != outbox.StatusPending {
		t.Error("something was changed")
	}
}

// Another site cannot send a form, even with the cookie.
func TestForeignForms(t *testing.T) {
	t.Parallel()
	w, tokens := guardedWorld(t, auth.Roles{"oncall": {Rights: []auth.Right{auth.Read, auth.Operate}}})
	w.insert("waits", nil)
	request := func(method, path, body string, headers ...string) answer {
		req, err := http.NewRequestWithContext(t.Context(), method, w.server.URL+base+path, strings.NewReader(body))
		w.must(err)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for i := 0; i < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		return w.send(w.server.Client(), req)
	}
	signedIn := request("POST", "/login", "token="+url.QueryEscape(tokens["oncall"]), "Sec-Fetch-Site", "same-origin")
	cookie, _, _ := strings.Cut(signedIn.header.Get("Set-Cookie"), ";")
	cancel := func(headers ...string) answer {
		return request("POST", at("waits")+"/cancel", "why=x", append(headers, "Cookie", cookie)...)
	}
	for name, headers := range map[string][]string{
		"another site": {"Sec-Fetch-Site", "cross-site"}, "a sibling": {"Sec-Fetch-Site", "same-site"}, "another origin": {"Origin", "https://evil.example"}, "neither": nil,
	} {
		if a := cancel(headers...); a.status != http.StatusForbidden || w.status("waits") != outbox.StatusPending {
			t.Errorf("%s: %d", name, a.status)
		}
	}
	a := request("GET", at("waits"), "", "Cookie", cookie)
	if a.status != http.StatusOK || !strings.HasPrefix(a.header.Get("Content-Security-Policy"), "default-src 'none'; script-src 'self'; style-src 'self'") || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("%d with %v", a.status, a.header)
	}
	if a := cancel("Sec-Fetch-Site", "same-origin"); a.status != http.StatusSeeOther || w.status("waits") != outbox.StatusCancelled {
		t.Errorf("its own form: %d %s", a.status, a.body)
	}
}

// actor is somebody who changes things without the page.
var actor = admin.Actor{Who: "ann", Via: "test", Roles: []admin.Role{admin.RoleRead, admin.RoleOperate}}

func escape(text string) string { return url.QueryEscape(text) }
