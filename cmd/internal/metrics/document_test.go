package metrics_test

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/outboxd/outboxd/cmd/internal/metrics"
)

//go:generate go test -run ^TestMetricsDocument$ -update

var update = flag.Bool("update", false, "write docs/metrics.md anew")

const (
	metricsDocument = "../../../docs/metrics.md"
	rulesFile       = "../../../deploy/prometheus/rules.yaml"
)

// TestMetricsDocument fails when docs/metrics.md is not what the catalogue says. "make docs" writes it anew.
func TestMetricsDocument(t *testing.T) {
	want := document(t)
	if *update {
		if err := os.WriteFile(metricsDocument, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(metricsDocument)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("docs/metrics.md is stale: run make docs")
	}
}

// alerts returns the names of the alerts that use each metric.
func alerts(t *testing.T) map[string][]string {
	t.Helper()
	rules, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	using := make(map[string][]string)
	for _, rule := range strings.Split(string(rules), "- alert: ")[1:] {
		name, rest, _ := strings.Cut(rule, "\n")
		expression, _, _ := strings.Cut(rest, "annotations:")
		for _, metric := range regexp.MustCompile(`outboxd_[a-z_]+`).FindAllString(expression, -1) {
			for _, suffix := range []string{"_bucket", "_count"} {
				metric = strings.TrimSuffix(metric, suffix)
			}
			if !slices.Contains(using[metric], name) {
				using[metric] = append(using[metric], name)
			}
		}
	}
	return using
}

func document(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString(`# Metrics

<!-- Generated from cmd/internal/metrics by "make docs"; do not edit. -->

A worker shows these on ` + "`/metrics`" + `, in the format that the scraper asks for. OpenMetrics brings exemplars with trace
ids. The protobuf format brings native histograms beside the classic ones. [monitoring.md](monitoring.md) says how to
use them.

- Every series is there from the start, at 0. So the first event counts.
- Labels are bounded. ` + "`kind`" + ` is a kind that outboxd has a provider for, or ` + "`other`" + `. A worker has about
  a thousand series.
- A scrape asks the database nothing. While the database is away, the page shows what it last told.
`)
	using := alerts(t)
	for _, part := range []struct {
		scope       metrics.Scope
		title, text string
	}{
		{metrics.PerProcess, "Of one worker", "What one process did or is. Sum these over all workers."},
		{metrics.Deployment, "Of the whole outbox", "The same on every worker, from the census or the registry. Use `max`, never `sum`: `max by (kind) (outboxd_due)`."},
		{metrics.Admin, "Of the admin process", "What one process of `outboxd admin` did."},
	} {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| metric | type | labels | meaning | alerts |\n|---|---|---|---|---|\n", part.title, part.text)
		for _, m := range metrics.Catalogue() {
			if m.Scope != part.scope {
				continue
			}
			var labels []string
			for _, l := range m.Labels {
				text := "`" + l.Name + "`"
				if len(l.Values) > 0 {
					text += ": " + strings.Join(l.Values, ", ")
				}
				labels = append(labels, text)
			}
			var links []string
			for _, name := range using[m.FullName()] {
				links = append(links, fmt.Sprintf("[%s](runbooks/%s.md)", name, name))
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", m.FullName(), m.Type, strings.Join(labels, "; "), m.Help, strings.Join(links, ", "))
		}
	}
	b.WriteString("\nBeside these come the usual ones of the Go runtime (`go_…`) and of the process (`process_…`).\n")
	return b.String()
}
