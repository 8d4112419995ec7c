//go:build scale

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/outboxd/outboxd/outbox"
)

// scaleView is something that an operator looks at.
type scaleView struct {
	name   string
	path   func(n int) string // of the nth request
	follow bool               // each request asks for the page after the last one's
}

// scaleViews returns what is measured: all views of the page, each filter, and what the API reads.
func scaleViews(s scaleIntents, job string) []scaleView {
	var list []scaleView
	add := func(name, path string) {
		list = append(list, scaleView{name: name, path: func(int) string { return path }})
	}
	each := func(name string, path func(n int) string) { list = append(list, scaleView{name: name, path: path}) }
	order := func(n int) int { return mix(n, 14) % s.n }
	day := func(ago int) string {
		return url.QueryEscape(s.now.Add(-time.Duration(ago) * 24 * time.Hour).UTC().Format(time.RFC3339))
	}

	add("overview", "/")
	add("intents: none chosen", "/intents")
	each("intents: id", func(n int) string { return "/intents?q=" + url.QueryEscape(s.id(order(n))) })
	each("intents: id, first half", func(n int) string { return fmt.Sprintf("/intents?q=order-%04d", order(n)/10_000) })
	each("intents: metadata", func(n int) string { return fmt.Sprintf("/intents?meta=order%%3Do%d", order(n)) })
	each("intents: provider's id", func(n int) string { return "/intents?provider_id=" + s.providerID(order(n)) })
	for _, stage := range []outbox.Stage{outbox.StageWaiting, outbox.StageDone, outbox.StageDead, outbox.StageCancelled} {
		add("intents: "+string(stage), "/intents?status="+string(stage))
		add("intents: "+string(stage)+", email", "/intents?kind=email&status="+string(stage))
	}
	add("intents: in doubt, email", "/intents?kind=email&status=in-doubt")
	add("intents: done, last hour", "/intents?status=done&since=1h")
	add("intents: dead, last hour", "/intents?status=dead&since=1h")
	add("intents: dead, a day last week", "/intents?status=dead&since="+day(6)+"&until="+day(5))
	add("intents: reason", "/intents?reason=exhausted")
	add("intents: code", "/intents?code=declined")
	add("intents: provider's code", "/intents?provider_code=21610")
	add("intents: one group", "/intents?status=dead&kind=charge&reason=permanent&code=declined&provider_code=lost_card")
	each("one intent: done", func(n int) string { return "/i/" + inPath(s.pick(n, outbox.StageDone)) })
	each("one intent: dead", func(n int) string { return "/i/" + inPath(s.pick(n, outbox.StageDead)) })
	each("one intent: waiting", func(n int) string { return "/i/" + inPath(s.pick(n, outbox.StageWaiting)) })
	add("dead letters", "/dead")
	add("dead letters: email", "/dead?kind=email")
	add("dead letters: plan", "/dead/plan?op=retry&kind=charge&reason=exhausted")
	add("jobs", "/jobs")
	add("one job", "/jobs/"+job)
	add("lanes", "/lanes")
	add("rates: hour", "/rates")
	add("rates: day", "/rates?hours=24")
	add("rates: week", "/rates?hours=168")
	add("rates: week, email", "/rates?hours=168&kind=email")
	add("workers", "/workers")
	add("audit", "/audit")
	add("audit: who", "/audit?who=person-3")
	each("audit: on one intent", func(n int) string { return "/audit?on=" + url.QueryEscape(s.pick(n, outbox.StageDead)) })
	add("audit: what", "/audit?op=reveal")
	add("doctor", "/doctor")

	const api = "/api/v1"
	add("API overview", api+"/overview")
	add("API lanes", api+"/lanes")
	add("API workers", api+"/workers")
	add("API dead/groups", api+"/dead/groups")
	add("API rates, last hour", api+"/rates?from="+url.QueryEscape(s.now.Add(-time.Hour).UTC().Format(time.RFC3339)))
	add("API jobs", api+"/jobs")
	add("API audit", api+"/audit")
	add("API doctor", api+"/doctor")
	each("API one intent", func(n int) string { return api + "/intents/" + inPath(s.pick(n, outbox.StageDead)) })
	for _, query := range []string{"status=waiting", "status=done", "status=dead", "status=dead&kind=sms"} {
		list = append(list, scaleView{name: "API pages of 500, " + query, path: func(int) string { return api + "/intents?limit=500&" + query }, follow: true})
	}
	return list
}

// planJob plans a retry, which changes nothing, so that there is a job to look at.
func planJob(t *testing.T, d *adminProcess) string {
	t.Helper()
	planned := d.call(t, "POST", "/api/v1/jobs", `{"op":"retry","filter":{"kind":"email","reason":"exhausted","code":"unavailable"},"why":"the provider's incident is over"}`).want(t, 201)
	id, ok := planned.field("id").(string)
	if !ok {
		t.Fatalf("a job without an id: %s", planned.body)
	}
	return id
}

// next returns where a list's next page begins, empty after the last one.
func next(body []byte) string {
	var page struct{ Next string }
	if !bytes.HasPrefix(body, []byte("{")) || json.Unmarshal(body, &page) != nil {
		return ""
	}
	return page.Next
}
