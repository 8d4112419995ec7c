package httpapi_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/json"
	"flag"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/outboxd/outboxd/cmd/api/httpapi"
	"github.com/outboxd/outboxd/cmd/api/payments"
)

var update = flag.Bool("update", false, "write docs/api/openapi.yaml")

// described is an API with every route that there can be. It needs no database.
func described(t *testing.T) *httpapi.API {
	t.Helper()
	app, err := httpapi.New(httpapi.Config{Payments: new(payments.Service), Webhooks: httpapi.Webhooks{
		Stripe: []string{"whsec_x"}, SendGrid: &ecdsa.PublicKey{Curve: elliptic.P256()}, TwilioToken: "x", PublicURL: &url.URL{Scheme: "https", Host: "pay.example.org"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return app
}

// What is checked in is what is served. After a change: go test ./cmd/api/httpapi -run OpenAPI -update.
func TestOpenAPIIsCurrent(t *testing.T) {
	got, err := described(t).OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("..", "..", "..", "docs", "api", "openapi.yaml")
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("docs/api/openapi.yaml is not what the API serves; run go test ./cmd/api/httpapi -run OpenAPI -update")
	}
}

// Every operation, every code and every field is described; 422 is business and everything else is a problem.
func TestOpenAPIIsComplete(t *testing.T) {
	text, err := described(t).OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]struct {
			Responses map[string]struct {
				Ref string `yaml:"$ref"`
			}
		}
		Components struct {
			Responses map[string]struct {
				Description string
				Content     map[string]any
			}
		}
	}
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1") || len(doc.Paths) != 6 {
		t.Errorf("version %s with %d paths", doc.OpenAPI, len(doc.Paths))
	}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			if op.Responses["422"].Ref == "" == strings.HasPrefix(path, "/payments") {
				t.Errorf("%s %s: the answers are %v", method, path, op.Responses)
			}
			if op.Responses["503"].Ref == "" || op.Responses["500"].Ref == "" {
				t.Errorf("%s %s: the answers are %v", method, path, op.Responses)
			}
		}
	}
	for name, r := range doc.Components.Responses {
		if _, isProblem := r.Content["application/problem+json"]; isProblem == (name == "Refused") {
			t.Errorf("%s is described as %v", name, r.Content)
		}
	}
	for _, c := range payments.Codes() {
		if !strings.Contains(doc.Components.Responses["Refused"].Description, "`"+c.Code+"`: "+c.Meaning) {
			t.Errorf("the code %s is not described", c.Code)
		}
	}
	if bytes.Contains(text, []byte("ErrorModel")) || bytes.Contains(text, []byte("http://")) {
		t.Error("the description has something of huma's own, or a URL")
	}
}

// Pages, styles and scripts come from this API alone, and have nothing inline, so that the policy can forbid both.
func TestPagesLoadNothingFromElsewhere(t *testing.T) {
	a := start(t)
	inline := regexp.MustCompile(`<script(?:>|[^>]*>[^<])|<style| style=| on[a-z]+=|javascript:`)
	elsewhere := regexp.MustCompile(`(?:src|href)="(?:https?:)?//|url\(|@import|(?:fetch|EventSource|import)\(['"]https?:`)
	for path, media := range map[string]string{"/": "text/html", "/docs": "text/html", "/shop.js": "text/javascript", "/docs.js": "text/javascript", "/style.css": "text/css"} {
		resp, err := a.http.Get(a.url + path)
		if err != nil {
			t.Fatal(err)
		}
		var buf bytes.Buffer
		if _, err := buf.ReadFrom(resp.Body); err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Content-Type"), media) || buf.Len() < 200 {
			t.Errorf("%s: %s, %s, %d bytes", path, resp.Status, resp.Header.Get("Content-Type"), buf.Len())
		}
		policy := resp.Header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: the policy is %q", path, policy)
		}
		if found := inline.FindString(buf.String()); found != "" && media == "text/html" {
			t.Errorf("%s has %q", path, found)
		}
		if found := elsewhere.FindString(buf.String()); found != "" {
			t.Errorf("%s has %q", path, found)
		}
		for _, m := range regexp.MustCompile(`(?:src|href)="(/[^"#]*)"`).FindAllStringSubmatch(buf.String(), -1) {
			if resp, err := a.http.Get(a.url + m[1]); err != nil || resp.StatusCode != 200 {
				t.Errorf("%s names %s, which is not there: %v", path, m[1], err)
			} else {
				resp.Body.Close()
			}
		}
	}
	if ans := a.do("GET", "/openapi.json", ""); !json.Valid([]byte(ans.text)) || !slices.Contains(ans.header["Content-Type"], "application/json") {
		t.Errorf("GET /openapi.json: %d %s", ans.status, ans.header)
	}
}
