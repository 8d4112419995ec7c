//go:build prometheus

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/providers/simulator"
)

// watched is a configuration under which the breaker of charges opens soon, and that of e-mail never.
const watched = `
lanes:
  charge: {rate: 10000/s, timeout: 5s, lease: 10s, retry: {base: 50ms, max: 500ms}, breaker: {consecutive: 5, open_for: 3s}}
  email:
    timeout: 5s
    lease: 10s
    retry: {base: 50ms, max: 500ms}
    reconcile: {wait: 100ms, interval: 1s, absent_after: 2s, give_up: 20s}
    breaker: {consecutive: 100000, min_requests: 100000, open_for: 1s}
  sms: {timeout: 5s, lease: 10s, retry: {base: 50ms, max: 500ms}}
`

// alertPatience is how long an alert may take: two censuses, and what the machine needs beside.
const alertPatience = 90 * time.Second

// freePort returns the address of a port of this machine that nobody uses.
func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

var (
	forLine = regexp.MustCompile(`(?m)^( +for:) .*$`)
	window  = regexp.MustCompile(`\[\d+[mh]\]`)
)

// shortened returns the rules of deploy/prometheus as a test can wait for them: the same expressions, where minutes and
// hours are seconds.
func shortened(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../deploy/prometheus/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rules := window.ReplaceAllString(forLine.ReplaceAllString(string(text), "$1 1s"), "[15s]")
	rules = strings.NewReplacer(`{kind!~"charge|other"}) > 300`, `{kind!~"charge|other"}) > 5`, `{kind="charge"}) > 120`, `{kind="charge"}) > 5`).Replace(rules)
	if strings.Count(rules, "> 5\n") != 2 {
		t.Fatal("the thresholds of UsersWait are no longer where the test looks for them")
	}
	return rules
}

// prometheus is a real one that scrapes one worker each second.
type prometheus struct {
	t     *testing.T
	tools string // where promtool is
	url   string
	fired map[string]bool
}

func startPrometheus(t *testing.T, target string) *prometheus {
	t.Helper()
	tools, problem := tryScript(t, "get-prometheus")
	if problem != "" {
		t.Fatal(problem)
	}
	dir, addr := t.TempDir(), freePort(t)
	for name, text := range map[string]string{
		"rules.yaml": shortened(t),
		"prometheus.yml": fmt.Sprintf("global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [rules.yaml]\n"+
			"scrape_configs: [{job_name: outboxd, static_configs: [{targets: [%q]}]}]\n", target),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	log := newLines()
	cmd := exec.Command(filepath.Join(tools, "prometheus"), "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+addr, "--enable-feature=exemplar-storage")
	cmd.Env, cmd.Stdout, cmd.Stderr = environment(), log, log
	if err := cmd.Start(); err != nil {
		t.Fatalf("start Prometheus: %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it keeps nothing that anybody wants
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("Prometheus printed:\n%s", log.tail())
		}
	})
	p := &prometheus{t: t, tools: tools, url: "http://" + addr, fired: make(map[string]bool)}
	eventuallyWithin(t, alertPatience, "Prometheus has scraped the worker", func() bool { return p.value(`up{job="outboxd"}`) == "1" })
	return p
}

// get asks the HTTP API.
func (p *prometheus) get(path string, query url.Values, data any) error {
	ctx, cancel := context.WithTimeout(p.t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+path+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return err
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s: %s", answer.Status, answer.Error)
	}
	return nil
}

// results returns how many series a query has, and the value of the first one.
func (p *prometheus) results(expression string) (n int, first string, err error) {
	var data struct {
		Result []struct{ Value []any }
	}
	if err := p.get("/api/v1/query", url.Values{"query": {expression}}, &data); err != nil {
		return 0, "", err
	}
	if len(data.Result) > 0 && len(data.Result[0].Value) == 2 {
		first, _ = data.Result[0].Value[1].(string)
	}
	return len(data.Result), first, nil
}

func (p *prometheus) value(expression string) string {
	_, v, err := p.results(expression)
	if err != nil {
		return err.Error()
	}
	return v
}

// firing returns the alerts that fire now.
func (p *prometheus) firing() []string {
	p.t.Helper()
	var data struct {
		Alerts []struct {
			State  string
			Labels map[string]string
		}
	}
	if err := p.get("/api/v1/alerts", nil, &data); err != nil {
		p.t.Fatalf("ask for the alerts: %v", err)
	}
	var names []string
	for _, a := range data.Alerts {
		if a.State == "firing" {
			names = append(names, a.Labels["alertname"])
			p.fired[a.Labels["alertname"]] = true
		}
	}
	return names
}

// await waits until the alerts fire, all at once.
func (p *prometheus) await(names ...string) {
	p.t.Helper()
	began := time.Now()
	eventuallyWithin(p.t, alertPatience, fmt.Sprintf("%v fire", names), func() bool {
		now := p.firing()
		return !slices.ContainsFunc(names, func(n string) bool { return !slices.Contains(now, n) })
	})
	p.t.Logf("%v fire after %v", names, time.Since(began).Round(time.Second))
}

// gone waits until none of the alerts fires any more.
func (p *prometheus) gone(names ...string) {
	p.t.Helper()
	began := time.Now()
	eventuallyWithin(p.t, alertPatience, fmt.Sprintf("%v are resolved", names), func() bool {
		now := p.firing()
		return !slices.ContainsFunc(names, func(n string) bool { return slices.Contains(now, n) })
	})
	p.t.Logf("%v are resolved after %v", names, time.Since(began).Round(time.Second))
}

// A real Prometheus scrapes a real worker. Faults of the simulators make alerts fire, and their end resolves them. The
// rules are those of deploy/prometheus with shorter times. Each query of the dashboard is answered.
func TestPrometheusAlertsOnRealFaults(t *testing.T) {
	w := newWorld(t, watched)
	target := freePort(t)
	worker := w.worker("--listen", target)
	worker.find(worker.errOut, "that it serves", func(line string) bool { return strings.Contains(line, `"msg":"serving"`) })
	p := startPrometheus(t, target)
	trace := "4bf92f3577b34da6a3ce929d0e0e4736"
	w.insert(with(sms("traced"), bson.M{"trace": bson.M{"traceparent": "00-" + trace + "-00f067aa0ba902b7-01"}}), charge("fine"), email("fine-too"))
	w.waitFor("is done", 3, bson.D{{Key: "status", Value: "done"}})
	p.gone("NoWorker", "UsersWaitBlind") // of the moments before the first census

	// Our credentials are refused: the lane is held, and users wait.
	w.sim.fail(refusal("sms", "", http.StatusUnauthorized, -1))
	w.insert(sms("held-1"), sms("held-2"), sms("held-3"))
	p.await("Held", "UsersWait")
	w.sim.forget()
	runProgram(t, w.environment(), "outboxd", "lane", "resume", "sms")
	p.gone("Held", "UsersWait")

	// Stripe fails, and the breaker opens.
	w.stripeDown()
	for i := range 12 {
		w.insert(charge(fmt.Sprint("down-", i)))
	}
	p.await("BreakerOpen")
	w.mend()
	p.gone("BreakerOpen")

	// SendGrid fails for every second one, again and again. It answers the others, so that nothing hides it.
	for i := range 40 {
		id := fmt.Sprint("troubled-", i)
		w.sim.fail(simulator.Fault{Provider: "sendgrid", Route: "send", Do: simulator.DoStatus, Status: 500, Match: simulator.Match{OutboxID: id, Times: 3}})
		w.insert(email(fmt.Sprint("easy-", i)), email(id))
	}
	p.await("Provider5xx")
	w.sim.forget()
	p.gone("Provider5xx")

	// An answer is lost, and the text is parked: a person must look.
	w.sim.fail(simulator.Fault{Provider: "twilio", Route: "send", Do: simulator.DoReset, When: simulator.After, Match: simulator.Match{Times: 1}})
	w.insert(sms("lost"))
	p.await("AmbiguousNeedsPerson")
	runProgram(t, w.environment(), "outboxd", "resolve", "lost", "--not-sent", "--why", "a test")
	p.gone("AmbiguousNeedsPerson")

	// A producer breaks the contract.
	w.smuggle(with(sms("wrong"), bson.M{"colour": "red"}))
	p.await("InvalidFromProducer")
	p.gone("InvalidFromProducer")

	p.answers()
	p.exemplar(trace)
	p.lint(w.scrape(worker, "/metrics"))

	// Nobody is there.
	worker.stop()
	p.await("NoWorker", "UsersWaitBlind")
	worker = w.worker("--listen", target)
	p.gone("NoWorker", "UsersWaitBlind")
	worker.stop()
	t.Logf("fired in all: %v", slices.Sorted(maps.Keys(p.fired)))
}

// answers asks each query of the dashboard. Most of them have a value by now.
func (p *prometheus) answers() {
	p.t.Helper()
	text, err := os.ReadFile("../deploy/grafana/outboxd.json")
	if err != nil {
		p.t.Fatal(err)
	}
	var board any
	if err := json.Unmarshal(text, &board); err != nil {
		p.t.Fatal(err)
	}
	var empty []string
	all := 0
	for _, expression := range expressions(board) {
		asked := strings.NewReplacer("$__rate_interval", "5m", "$kind", ".*").Replace(expression)
		n, _, err := p.results(asked)
		if err != nil {
			p.t.Errorf("the dashboard asks %s: %v", expression, err)
		}
		if all++; n == 0 {
			empty = append(empty, expression)
		}
	}
	p.t.Logf("%d queries of the dashboard answered, %d of them without a series: %q", all, len(empty), empty)
	if all < 25 || len(empty) > 3 { // nothing is held now, and no version is new
		p.t.Errorf("%d queries, %d without an answer", all, len(empty))
	}
}

// expressions returns what all panels and annotations ask.
func expressions(node any) (list []string) {
	switch v := node.(type) {
	case []any:
		for _, item := range v {
			list = append(list, expressions(item)...)
		}
	case map[string]any:
		if e, ok := v["expr"].(string); ok {
			list = append(list, e)
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			list = append(list, expressions(v[key])...)
		}
	}
	return list
}

// exemplar expects that a measurement leads to the trace of its intent.
func (p *prometheus) exemplar(trace string) {
	p.t.Helper()
	var series []struct {
		Exemplars []struct{ Labels map[string]string }
	}
	now := time.Now()
	err := p.get("/api/v1/query_exemplars", url.Values{"query": {"outboxd_queue_delay_seconds_bucket"},
		"start": {fmt.Sprint(now.Add(-time.Hour).Unix())}, "end": {fmt.Sprint(now.Unix())}}, &series)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, s := range series {
		for _, e := range s.Exemplars {
			if e.Labels["trace_id"] == trace {
				return
			}
		}
	}
	p.t.Errorf("no exemplar of the trace %s among %v", trace, series)
}

// lint expects that promtool has nothing to say against the page.
func (p *prometheus) lint(page string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(p.tools, "promtool"), "check", "metrics")
	cmd.Stdin = strings.NewReader(page)
	if said, err := cmd.CombinedOutput(); err != nil || len(said) > 0 {
		p.t.Errorf("promtool check metrics: %v\n%s", err, said)
	}
}
