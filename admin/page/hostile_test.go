package page_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/outbox"
)

// hostile are texts that a producer, a worker's name or a provider's answer may bring.
var hostile = []string{
	`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' autofocus onfocus='alert(1)`, `javascript:alert(1)`, `</title><svg/onload=alert(1)>`,
	`<a href="javascript:alert(1)" hx-on:click="alert(1)" hx-get="/x">x</a>`, "\u202egnp.exe", "zero\u200bwidth\u2066\ufeff", "nul\x01\x1b[31m", `{{constructor.constructor('alert(1)')()}}`,
	`../../etc/passwd`, `%2e%2e%2f`, `]]><!--`, "`${alert(1)}`", "\u2028line", strings.Repeat("A", 5000), `<template><style onload=alert(1)>`, `&lt;script&gt;`, "\xff\xfe",
}

var (
	tag      = regexp.MustCompile(`<([a-zA-Z!/][^>]*)>`)
	handler  = regexp.MustCompile(`(?i)\s(on[a-z]+|style|hx-on[^=]*|srcdoc|formaction)\s*=`)
	unseen   = regexp.MustCompile("[\u202a-\u202e\u2066-\u2069\u200b-\u200f\ufeff\u2028\u2029\x01-\x08\x0e-\x1f]")
	elements = regexp.MustCompile(`(?i)^/?(img|svg|iframe|object|embed|template|style|base)\b`)
	values   = regexp.MustCompile(`value="[^"]*"`) // what a form sends back has to stay as it is
	quoted   = regexp.MustCompile(`"[^"]*"|'[^']*'`)
)

// harmless reports what in a page is markup that the page did not write.
func harmless(body string) error {
	for _, m := range tag.FindAllStringSubmatch(body, -1) {
		names := quoted.ReplaceAllString(m[1], `""`)
		switch {
		case elements.MatchString(m[1]) && !strings.HasPrefix(m[1], `svg viewBox="0 0 120 24"`) && m[1] != "/svg":
			return fmt.Errorf("the element <%s>", m[1])
		case handler.MatchString(" " + names):
			return fmt.Errorf("the attribute in <%s>", m[1])
		case strings.HasPrefix(m[1], "script") && !strings.HasPrefix(m[1], `script src="`+base+`/assets/`):
			return fmt.Errorf("the script <%s>", m[1])
		case strings.Contains(strings.ToLower(m[1]), `href="javascript:`):
			return fmt.Errorf("the link <%s>", m[1])
		}
	}
	if found := unseen.FindString(body); found != "" {
		return fmt.Errorf("the sign %q, which nobody sees", found)
	}
	return nil
}

// Whatever stands in a field that others write is text on the page, and nothing else.
func TestHostileTexts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i, text := range hostile {
		valid := strings.ToValidUTF8(text, "?")
		id := fmt.Sprintf("h%d ", i) + valid
		if len(id) > 900 {
			id = id[:900]
		}
		w.insert(id, with(dead("exhausted", "transient", valid), bson.M{"payload": bson.M{"to": "+4915112345678", valid: valid, "template_data": bson.M{valid: valid}, "template_id": valid, "currency": valid},
			"metadata": bson.M{"order": valid, "k" + strings.NewReplacer(".", "", "$", "").Replace(valid): valid}, "write_back": bson.M{"collection": valid, "id": valid}, "on_done": bson.A{bson.M{"kind": valid}},
			"result": bson.M{"provider": valid, "id": "pi_" + valid, "status": valid}, "trace": bson.M{"traceparent": "00-" + valid + "-x-01"},
			"last_error": bson.M{"class": "transient", "code": valid, "provider_code": valid, "message": valid, "at": time.Now()}, "dead_reason": "exhausted",
			"history": bson.A{bson.M{"what": "attempt", "attempt": 1, "at": time.Now(), "outcome": "transient", "code": valid, "provider_code": valid, "request_id": valid, "ref": valid, "worker": valid},
				bson.M{"what": "retry", "at": time.Now(), "by": valid, "why": valid, "job": valid}}}))
		w.insert("p"+id, bson.M{"kind": valid, "status": valid})
		if len(valid) < 500 {
			_, err := w.store.Heartbeat(t.Context(), outbox.Worker{Name: valid, Kinds: []string{"sms", valid}, Started: time.Now(), Version: valid})
			w.must(err)
			w.must(w.store.Pause(t.Context(), valid, valid, valid))
			w.must(w.service.PauseLane(t.Context(), actor, "sms", valid))
			w.must(w.store.Limit(t.Context(), valid, 5, valid, valid))
			w.must(w.store.Limit(t.Context(), "sms", 5, valid, valid))
		}
	}
	_, err := w.store.TakeCensus(t.Context(), "vm", []string{"sms"})
	w.must(err)
	paths := []string{"/", "/intents", "/intents?status=dead&kind=sms", "/intents?id=h", "/intents?id=ph", "/dead", "/lanes", "/workers", "/audit", "/rates", "/jobs"}
	link := regexp.MustCompile(`href="` + base + `(/(?:i|dead/plan|intents|lanes|rates|jobs)[^"]*)"`)
	seen := map[string]bool{}
	for len(paths) > 0 && len(seen) < 250 {
		path := paths[0]
		paths = paths[1:]
		if seen[path] {
			continue
		}
		seen[path] = true
		a := w.ask("read,operate,approve,reveal", http.MethodGet, path, nil)
		if a.status >= 500 {
			t.Errorf("%s: %d", path, a.status)
		}
		if err := harmless(values.ReplaceAllString(a.body, "")); err != nil {
			t.Errorf("%s has %v", path, err)
		}
		for _, m := range link.FindAllStringSubmatch(a.body, -1) {
			if strings.HasPrefix(m[1], "/i/") || strings.HasPrefix(m[1], "/dead/plan") {
				paths = append(paths, strings.ReplaceAll(m[1], "&amp;", "&"))
			}
		}
	}
	if len(seen) < 60 {
		t.Errorf("only %d pages were seen", len(seen))
	}
	for _, text := range hostile { // what comes back from a query or a form
		for _, path := range []string{"/intents?id=", "/intents?q=", "/intents?status=dead&kind=", "/intents?meta=", "/intents?since=", "/dead?kind=", "/dead/plan?kind=", "/audit?on=", "/lanes?kind=", "/rates?kind=", "/nothing?"} {
			if len(text) > 1000 {
				continue
			}
			a := w.get(path + escape(text))
			if err := harmless(values.ReplaceAllString(a.body, "")); err != nil {
				t.Errorf("%s%q has %v", path, text, err)
			}
		}
		for _, op := range []string{"pause", "rate"} {
			a := w.post("read,operate", "/lanes", "op", op, "kind", text, "why", text, "rate", text)
			if err := harmless(values.ReplaceAllString(a.body, "")); err != nil {
				t.Errorf("the form of %s with %q has %v", op, text, err)
			}
		}
	}
}
