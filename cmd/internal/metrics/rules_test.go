package metrics_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/outboxd/outboxd/cmd/internal/metrics"
)

const (
	runbooks   = "../../../docs/runbooks"
	runbookURL = "https://github.com/outboxd/outboxd/blob/main/docs/runbooks/"
)

// headings are what each runbook answers, in this order.
var headings = []string{"## What the customer sees", "## How sure is it", "## Look at", "## Do", "## Do not"}

// alert is one rule of rules.yaml.
type alert struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func rules(t *testing.T) []alert {
	t.Helper()
	text, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []alert `yaml:"rules"`
		} `yaml:"groups"`
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	var all []alert
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) < 20 {
		t.Fatalf("%d alerts", len(all))
	}
	return all
}

func TestEachAlertIsWhole(t *testing.T) {
	tests, err := os.ReadFile(filepath.Join(filepath.Dir(rulesFile), "rules_test.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, a := range rules(t) {
		names = append(names, a.Alert)
		if a.Annotations["summary"] == "" || a.Annotations["runbook_url"] != runbookURL+a.Alert+".md" {
			t.Errorf("%s has the annotations %v", a.Alert, a.Annotations)
		}
		if s := a.Labels["severity"]; s != "page" && s != "ticket" && s != "info" && !strings.Contains(s, "}}page{{") {
			t.Errorf("%s has the severity %q", a.Alert, s)
		}
		checkExpression(t, a.Alert, a.Expr)
		checkRunbook(t, a.Alert)
		fires, silent := 0, 0
		for at := range strings.SplitSeq(string(tests), "- eval_time:") {
			switch {
			case !strings.Contains(at, "alertname: "+a.Alert+"\n"):
			case strings.Contains(at, "exp_alerts:"):
				fires++
			default:
				silent++
			}
		}
		if fires == 0 || silent == 0 {
			t.Errorf("%s has %d tests in which it fires, and %d in which it does not", a.Alert, fires, silent)
		}
	}
	pages, err := filepath.Glob(filepath.Join(runbooks, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		if name := strings.TrimSuffix(filepath.Base(page), ".md"); name != "README" && !slices.Contains(names, name) {
			t.Errorf("%s is the runbook of no alert", page)
		}
	}
}

func checkRunbook(t *testing.T, name string) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(runbooks, name+".md"))
	if err != nil {
		t.Error(err)
		return
	}
	var found []string
	for line := range strings.Lines(string(page)) {
		if strings.HasPrefix(line, "## ") {
			found = append(found, strings.TrimSpace(line))
		}
	}
	if !slices.Equal(found, headings) {
		t.Errorf("the runbook of %s has the headings %q, want %q", name, found, headings)
	}
	for _, query := range regexp.MustCompile("(?m)^\\| PromQL \\| `(.*)` \\|$").FindAllSubmatch(page, -1) {
		checkExpression(t, "the runbook of "+name, strings.ReplaceAll(string(query[1]), `\|`, "|"))
	}
	index, err := os.ReadFile(filepath.Join(runbooks, "README.md"))
	if err != nil || !strings.Contains(string(index), "]("+name+".md)") {
		t.Errorf("the index of runbooks lacks %s: %v", name, err)
	}
}

var (
	selector = regexp.MustCompile(`(outboxd_[a-z_0-9]+)(?:\{([^}]*)\})?`)
	matcher  = regexp.MustCompile(`([a-z_]+)(=~|!~|!=|=)"([^"]*)"`)
)

// checkExpression fails for a metric, a label or a value that the catalogue does not have.
func checkExpression(t *testing.T, where, expression string) {
	t.Helper()
	catalogue := make(map[string]metrics.Metric)
	for _, m := range metrics.Catalogue() {
		catalogue[m.FullName()] = m
		if m.Type == metrics.Histogram {
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				catalogue[m.FullName()+suffix] = m
			}
		}
	}
	for _, s := range selector.FindAllStringSubmatch(expression, -1) {
		m, ok := catalogue[s[1]]
		if !ok {
			t.Errorf("%s uses %s, which the catalogue does not have", where, s[1])
			continue
		}
		for _, match := range matcher.FindAllStringSubmatch(s[2], -1) {
			i := slices.IndexFunc(m.Labels, func(l metrics.Label) bool { return l.Name == match[1] })
			if i < 0 {
				if match[1] != "le" && match[1] != "instance" {
					t.Errorf("%s asks %s for the label %s, which it does not have", where, s[1], match[1])
				}
				continue
			}
			for value := range strings.SplitSeq(match[3], "|") {
				if values := m.Labels[i].Values; values != nil && !strings.HasPrefix(value, "$") && !slices.Contains(values, value) {
					t.Errorf("%s asks %s for %s=%q, which never comes", where, s[1], match[1], value)
				}
			}
		}
	}
}

// Each check of an expression must be able to fail.
func TestWrongExpressionsAreNoticed(t *testing.T) {
	for _, wrong := range []string{"outboxd_oldest_due", `outboxd_due{state="held"}`, `outboxd_lane_state{state="broken|helt"}`} {
		probe := &testing.T{}
		checkExpression(probe, "a test", wrong)
		if !probe.Failed() {
			t.Errorf("accepted: %s", wrong)
		}
	}
}

// A panel that asks for what no metric has would stay empty for ever.
func TestTheDashboardAsksForWhatThereIs(t *testing.T) {
	text, err := os.ReadFile("../../../deploy/grafana/outboxd.json")
	if err != nil {
		t.Fatal(err)
	}
	var board any
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	n := 0
	var walk func(node any)
	walk = func(node any) {
		switch v := node.(type) {
		case []any:
			for _, item := range v {
				walk(item)
			}
		case map[string]any:
			if expression, ok := v["expr"].(string); ok {
				n++
				checkExpression(t, "the dashboard", expression)
			}
			for _, item := range v {
				walk(item)
			}
		}
	}
	walk(board)
	if n < 25 {
		t.Errorf("the dashboard has %d queries", n)
	}
}
