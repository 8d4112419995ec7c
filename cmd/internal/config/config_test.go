package config_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/outboxd/outboxd/cmd/internal/config"
	"github.com/outboxd/outboxd/outbox"
)

// source returns a source with the given flags and variables, each "name=value".
func source(flags, env []string) config.Source {
	split := func(pairs []string) map[string]string {
		m := make(map[string]string)
		for _, pair := range pairs {
			name, value, _ := strings.Cut(pair, "=")
			m[name] = value
		}
		return m
	}
	variables := split(env)
	return config.Source{Flags: split(flags), Env: func(name string) string { return variables[name] }}
}

// file writes a file of the given content and returns its path.
func file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const stripeKey = "STRIPE_API_KEY=sk_test_secret"

// everything is what a worker that serves all kinds needs.
var everything = []string{stripeKey, "SENDGRID_API_KEY=SG.secret", "TWILIO_ACCOUNT_SID=AC00000000000000000000000000000000", "TWILIO_AUTH_TOKEN=token-secret"}

func TestEachProblemNamesWhatToCorrect(t *testing.T) {
	for _, c := range []struct {
		name       string
		flags, env []string
		yaml       string
		want       []string // in this order, and nothing else
	}{
		{name: "no provider", want: []string{"providers: none is configured; set STRIPE_API_KEY, SENDGRID_API_KEY, or TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN"}},
		{name: "uri is none", env: []string{stripeKey, "OUTBOXD_MONGODB_URI=localhost:27017"},
			want: []string{"variable OUTBOXD_MONGODB_URI: is no connection string: it begins with mongodb:// or mongodb+srv://"}},
		{name: "uri by flag", flags: []string{"mongodb-uri=mongodb://"}, env: []string{stripeKey},
			want: []string{"flag --mongodb-uri: is no connection string: it names no host"}},
		{name: "uri with an option that is none", env: []string{stripeKey, "OUTBOXD_MONGODB_URI=mongodb://user:pa55word@h/?maxPoolSize=many"},
			want: []string{`variable OUTBOXD_MONGODB_URI: is no valid connection string; see "Connection Strings" in the MongoDB manual`}},
		{name: "database", flags: []string{"database=a/b"}, env: []string{stripeKey},
			want: []string{`flag --database: "a/b" cannot be a database's name`}},
		{name: "collection", env: []string{stripeKey, "OUTBOXD_COLLECTION=system.users"},
			want: []string{`variable OUTBOXD_COLLECTION: "system.users" cannot be a collection's name`}},
		{name: "empty flag", flags: []string{"collection="}, env: []string{stripeKey}, want: []string{"flag --collection: is empty"}},
		{name: "connect timeout", flags: []string{"connect-timeout=10ms"}, env: []string{stripeKey},
			want: []string{"flag --connect-timeout: is 10ms, must be at least 1s"}},
		{name: "durations", flags: []string{"drain=soon"}, env: []string{stripeKey},
			want: []string{`flag --drain: "soon" is no duration; write one like 30s or 5m`}},
		{name: "negative drain", env: []string{stripeKey, "OUTBOXD_DRAIN=-1s"}, want: []string{"variable OUTBOXD_DRAIN: is -1s, must be at least 0s"}},
		{name: "listen", env: []string{stripeKey, "OUTBOXD_LISTEN=8425"},
			want: []string{`variable OUTBOXD_LISTEN: "8425" is no address to listen on; write one like 127.0.0.1:8425`}},
		{name: "within alone", flags: []string{"within=1s"}, env: []string{stripeKey}, want: []string{"flag --within: means nothing without --until-empty"}},
		{name: "unknown kind", flags: []string{"kinds=charge,fax"}, env: []string{stripeKey},
			want: []string{`flag --kinds: "fax" is no kind; there are charge, email, sms`}},
		{name: "kind without provider", flags: []string{"kinds=sms"}, env: []string{stripeKey},
			want: []string{"flag --kinds: sms has no provider: set TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN"}},
		{name: "half of twilio", env: []string{stripeKey, "TWILIO_ACCOUNT_SID=AC1"},
			want: []string{"variable TWILIO_AUTH_TOKEN: is missing beside TWILIO_ACCOUNT_SID"}},
		{name: "other half of twilio", env: []string{stripeKey, "TWILIO_AUTH_TOKEN=x"},
			want: []string{"variable TWILIO_ACCOUNT_SID: is missing beside TWILIO_AUTH_TOKEN"}},
		{name: "secret twice", env: []string{stripeKey, "STRIPE_API_KEY_FILE=/run/secrets/stripe"},
			want: []string{"variable STRIPE_API_KEY: and STRIPE_API_KEY_FILE are both set; unset one of them"}},
		{name: "secret with a space", env: []string{"STRIPE_API_KEY=sk test"},
			want: []string{"variable STRIPE_API_KEY: cannot stand in a request: it holds a space or a character that is not printable ASCII"}},
		{name: "base url with a version", env: []string{stripeKey, "STRIPE_API_URL=https://api.stripe.com/v1"},
			want: []string{"variable STRIPE_API_URL: the URL must not hold the version of the API (such as /v1, /v3 or /2010-04-01), which every request adds itself"}},
		{name: "base url with a version, a slash and more", env: []string{stripeKey, "SENDGRID_API_URL=https://gateway.example/mail/V3/"},
			want: []string{"variable SENDGRID_API_URL: the URL must not hold the version of the API (such as /v1, /v3 or /2010-04-01), which every request adds itself"}},
		{name: "base url with a date", env: []string{stripeKey, "TWILIO_API_URL=https://api.twilio.com/2010-04-01"},
			want: []string{"variable TWILIO_API_URL: the URL must not hold the version of the API (such as /v1, /v3 or /2010-04-01), which every request adds itself"}},
		{name: "base url", env: []string{stripeKey, "STRIPE_API_URL=ftp://user:pa55word@h"},
			want: []string{"variable STRIPE_API_URL: the URL must be absolute and begin with http:// or https://"}},
		{name: "callback", env: append([]string{"TWILIO_CALLBACK_URL=hooks?token=pa55word"}, everything...),
			want: []string{"variable TWILIO_CALLBACK_URL: the URL must be absolute, begin with http:// or https://, and have no fragment"}},
		{name: "email events", env: append([]string{"OUTBOXD_EMAIL_EVENTS=system.events"}, everything...),
			want: []string{`variable OUTBOXD_EMAIL_EVENTS: "system.events" cannot be a collection's name`}},
		{name: "email events among the intents", env: append([]string{"OUTBOXD_EMAIL_EVENTS=outbox"}, everything...),
			want: []string{`variable OUTBOXD_EMAIL_EVENTS: "outbox" is the collection of the intents`}},
		{name: "not yaml", env: []string{stripeKey}, yaml: "lanes: [", want: []string{"outboxd.yaml:1: is no YAML: sequence end token ']' not found"}},
		{name: "two documents", env: []string{stripeKey}, yaml: "lanes: {}\n---\nlanes: {}\n", want: []string{"outboxd.yaml: holds 2 documents, must hold one"}},
		{name: "a list", env: []string{stripeKey}, yaml: "- lanes\n", want: []string{"outboxd.yaml: must be a mapping of keys to values"}},
		{name: "key twice", env: []string{stripeKey}, yaml: "lanes: {}\nlanes: {}\n", want: []string{`outboxd.yaml:2: is no YAML: mapping key "lanes" already defined at [1:1]`}},
		{name: "unknown keys", env: []string{stripeKey}, yaml: "lane: {}\nlanes:\n  charge:\n    retries: 3\n  fax: {}\n", want: []string{
			"outboxd.yaml:1: lane: is an unknown key; here may stand admin, kinds, lanes, logs, retention, write_back",
			"outboxd.yaml:4: lanes.charge.retries: is an unknown key; here may stand breaker, concurrency, lease, on_ambiguous, rate, reconcile, retry, timeout",
			"outboxd.yaml:5: lanes.fax: is an unknown key; here may stand charge, email, sms",
		}},
		{name: "wrong values", env: []string{stripeKey}, yaml: `
lanes:
  charge: {concurrency: many, rate: 25, timeout: 20, lease: soon}
  email:
    on_ambiguous: [retry]
    breaker: {failure_ratio: half, buckets: 1.5}
    retry: 12
retention: {done: 7d}
write_back: {collections: orders}
`, want: []string{
			"outboxd.yaml:3: lanes.charge.concurrency: must be a whole number",
			`outboxd.yaml:3: lanes.charge.rate: "25" is no rate; write one like 25/s, 100/m or 5000/h`,
			"outboxd.yaml:3: lanes.charge.timeout: must be a duration like 30s, 5m or 24h",
			"outboxd.yaml:3: lanes.charge.lease: must be a duration like 30s, 5m or 24h",
			"outboxd.yaml:5: lanes.email.on_ambiguous: must be retry, reconcile or park",
			"outboxd.yaml:6: lanes.email.breaker.failure_ratio: must be a number from 0 to 1",
			"outboxd.yaml:6: lanes.email.breaker.buckets: must be a whole number",
			"outboxd.yaml:7: lanes.email.retry: must be a mapping of keys to values",
			"outboxd.yaml:8: retention.done: must be a duration like 30s, 5m or 24h",
			"outboxd.yaml:9: write_back.collections: must be a list, each the name of a collection",
		}},
		{name: "values that do not go together", env: []string{stripeKey}, yaml: `
lanes:
  charge: {timeout: 60s, lease: 60s, concurrency: 0, on_ambiguous: guess}
  sms:
    retry: {max_attempts: 101, base: 10m, max: 1m, give_up: 0s}
    breaker: {probes: 0}
    reconcile: {interval: 1ms, absent_after: 2h}
retention: {done: 0s, cancelled: -1h}
logs: {metadata: [a, a, $b], successes: -1}
write_back: {collections: [orders, "", orders, system.users]}
kinds: [fax, a fax, fax]
`, want: []string{
			"outboxd.yaml:9: logs.metadata[1]: stands twice",
			"outboxd.yaml:9: logs.metadata[2]: must be the name of a key of metadata",
			"outboxd.yaml:10: write_back.collections[1]: must be the name of a collection",
			"outboxd.yaml:10: write_back.collections[2]: stands twice",
			"outboxd.yaml:10: write_back.collections[3]: must be the name of a collection",
			"outboxd.yaml:11: kinds[1]: must be the name of a kind",
			"outboxd.yaml:11: kinds[2]: stands twice",
			"outboxd.yaml:3: lanes.charge.concurrency: is 0, must be at least 1",
			"outboxd.yaml:3: lanes.charge.lease: is 1m0s, must be at least timeout + 5s (1m5s)",
			`outboxd.yaml:3: lanes.charge.on_ambiguous: is "guess", must be retry, reconcile or park`,
			"outboxd.yaml:5: lanes.sms.retry.give_up: is 0s, must be above 0",
			"outboxd.yaml:5: lanes.sms.retry.max_attempts: is 101, must be 1 to 100",
			"outboxd.yaml:5: lanes.sms.retry.max: is 1m0s, must be at least retry.base (10m0s)",
			"outboxd.yaml:7: lanes.sms.reconcile.interval: is 1ms, must be at least 1s",
			"outboxd.yaml:7: lanes.sms.reconcile.give_up: is 15m0s, must be at least reconcile.absent_after (2h0m0s)",
			"outboxd.yaml:6: lanes.sms.breaker.probes: is 0, must be at least 1",
			"outboxd.yaml:9: logs.successes: is -1, must not be negative",
			"outboxd.yaml:8: retention.done: is 0s, must be above 0",
			"outboxd.yaml:8: retention.cancelled: is -1h0m0s, must be above 0",
		}},
		{name: "all at once",
			flags: []string{"mongodb-uri=localhost", "drain=x", "kinds=fax"},
			env:   []string{"OUTBOXD_LISTEN=here", "TWILIO_AUTH_TOKEN=t", "OUTBOXD_DATABASE=a b", "SENDGRID_API_URL=here"},
			yaml:  "lanes: {charge: {rate: fast}}\n",
			want: []string{
				"flag --mongodb-uri: is no connection string: it begins with mongodb:// or mongodb+srv://",
				`variable OUTBOXD_DATABASE: "a b" cannot be a database's name`,
				"variable SENDGRID_API_URL: the URL must be absolute and begin with http:// or https://",
				"variable TWILIO_ACCOUNT_SID: is missing beside TWILIO_AUTH_TOKEN",
				`variable OUTBOXD_LISTEN: "here" is no address to listen on; write one like 127.0.0.1:8425`,
				`flag --drain: "x" is no duration; write one like 30s or 5m`,
				`outboxd.yaml:1: lanes.charge.rate: "fast" is no rate; write one like 25/s, 100/m or 5000/h`,
				`flag --kinds: "fax" is no kind; there are charge, email, sms`,
				"providers: none is configured; set STRIPE_API_KEY, SENDGRID_API_KEY, or TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN",
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			env := c.env
			if c.yaml != "" {
				env = append([]string{"OUTBOXD_CONFIG=" + file(t, "outboxd.yaml", c.yaml)}, env...)
			}
			_, err := config.LoadWorker(source(c.flags, env))
			got := problems(t, err)
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(c.want, "\n  "))
			}
			for _, secret := range []string{"pa55word", "sk_test_secret", "sk test"} {
				if err != nil && strings.Contains(err.Error(), secret) {
					t.Errorf("the error shows a secret: %v", err)
				}
			}
		})
	}
}

func problems(t *testing.T, err error) []string {
	t.Helper()
	list, ok := errors.AsType[config.Problems](err)
	if !ok {
		t.Fatalf("the error is %T (%v), want Problems", err, err)
	}
	var lines []string
	for _, p := range list {
		lines = append(lines, p.String())
	}
	return lines
}

func TestFilesThatCannotBeReadAreProblems(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	_, err := config.LoadWorker(source([]string{"config=" + missing}, []string{"STRIPE_API_KEY_FILE=" + missing, "SENDGRID_API_KEY_FILE=" + file(t, "empty", "\n")}))
	got := strings.Join(problems(t, err), "\n")
	for _, want := range []string{"variable STRIPE_API_KEY_FILE: its file cannot be read: ", "variable SENDGRID_API_KEY_FILE: its file ", "is empty", "flag --config: the file cannot be read: "} {
		if !strings.Contains(got, want) {
			t.Errorf("missing %q in:\n%s", want, got)
		}
	}
}

func TestFlagsStandAboveVariablesAboveDefaults(t *testing.T) {
	env := append([]string{"OUTBOXD_DRAIN=7s", "OUTBOXD_MONGODB_URI=mongodb://u:p@a,b/shop?replicaSet=x", "OUTBOXD_LISTEN=127.0.0.1:1"}, everything...)
	w, err := config.LoadWorker(source([]string{"drain=9s", "collection=mine"}, env))
	if err != nil {
		t.Fatal(err)
	}
	if w.Drain != 9*time.Second || w.Listen != "127.0.0.1:1" || w.Mongo.Database != "shop" || w.Mongo.Collection != "mine" || w.Mongo.ConnectTimeout != 30*time.Second {
		t.Errorf("got %+v", w)
	}
	w, err = config.LoadWorker(source(nil, everything))
	if err != nil {
		t.Fatal(err)
	}
	if w.Mongo.URI.Reveal() != config.DefaultURI || w.Mongo.Database != "outbox" || w.Mongo.Collection != "outbox" || w.Listen != "127.0.0.1:8425" || w.Drain != 30*time.Second {
		t.Errorf("defaults are %+v", w)
	}
}

func TestDefaultsAreThoseOfTheInterface(t *testing.T) {
	w, err := config.LoadWorker(source(nil, everything))
	if err != nil {
		t.Fatal(err)
	}
	type row struct {
		kind                            string
		concurrency                     int
		timeout, lease, absent, give_up time.Duration
		ambiguity                       outbox.Ambiguity
		rate                            string
		asksFirst                       bool
	}
	want := []row{
		{"charge", 32, 20 * time.Second, time.Minute, 2 * time.Minute, 15 * time.Minute, outbox.Retry, "25/s", true},
		{"email", 64, 10 * time.Second, 45 * time.Second, 10 * time.Minute, time.Hour, outbox.Reconcile, "", false},
		{"sms", 64, 10 * time.Second, 45 * time.Second, 2 * time.Minute, 15 * time.Minute, outbox.Park, "", false},
	}
	var got []row
	for _, l := range w.Lanes {
		r := l.Policy.Reconcile
		got = append(got, row{l.Kind, l.Concurrency, l.Timeout, l.Lease, r.AbsentAfter, r.GiveUp, l.Policy.OnAmbiguous, l.RateText, l.Policy.AsksFirst})
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if w.Retention.Done != 168*time.Hour || w.Retention.Cancelled != 168*time.Hour {
		t.Errorf("retention is %+v", w.Retention)
	}
}

// The example shows the defaults, so that it cannot say something else than the program does.
func TestTheExampleFileIsTheDefaults(t *testing.T) {
	plain, err := config.LoadWorker(source(nil, everything))
	if err != nil {
		t.Fatal(err)
	}
	example, err := config.LoadWorker(source([]string{"config=../../../outboxd.example.yaml"}, everything))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(example.WriteBack, []string{"orders", "payments"}) {
		t.Errorf("write_back.collections is %v", example.WriteBack)
	}
	if !reflect.DeepEqual(example.Kinds, []string{"webhook"}) {
		t.Errorf("kinds is %v", example.Kinds)
	}
	if !reflect.DeepEqual(example.Logs.Metadata, []string{"tenant"}) {
		t.Errorf("logs.metadata is %v", example.Logs.Metadata)
	}
	example.WriteBack, example.Kinds, example.Logs.Metadata = nil, nil, nil
	if !reflect.DeepEqual(example, plain) {
		t.Errorf("the example is\n%+v\nthe defaults are\n%+v", example, plain)
	}
}

func TestAFileChangesWhatItNames(t *testing.T) {
	w, err := config.LoadWorker(source([]string{"config=" + file(t, "policies.yaml", `
lanes:
  charge: &fast
    concurrency: 3
    rate: 90/m
    retry: {max_attempts: 4}
  email:
    <<: *fast
    concurrency: 5
  sms:
retention: {done: 1h}
`)}, everything))
	if err != nil {
		t.Fatal(err)
	}
	charge, email, sms := w.Lanes[0], w.Lanes[1], w.Lanes[2]
	if charge.Concurrency != 3 || charge.Rate != 1.5 || charge.RateText != "90/m" || charge.Policy.Retry.MaxAttempts != 4 || charge.Policy.Retry.Base != 2*time.Second {
		t.Errorf("charge is %+v", charge)
	}
	if email.Concurrency != 5 || email.Rate != 1.5 || email.Timeout != 10*time.Second {
		t.Errorf("email is %+v", email)
	}
	if sms.Concurrency != 64 || w.Retention.Done != time.Hour || w.Retention.Cancelled != 168*time.Hour {
		t.Errorf("sms is %+v, retention %+v", sms, w.Retention)
	}
}

func TestKindsAreServedThatHaveAProvider(t *testing.T) {
	for _, c := range []struct {
		flags, env       []string
		served, unserved string
	}{
		{nil, everything, "[charge email sms]", "[]"},
		{nil, []string{stripeKey}, "[charge]", "[email sms]"},
		{[]string{"kinds=sms, charge"}, everything, "[charge sms]", "[]"},
	} {
		w, err := config.LoadWorker(source(c.flags, c.env))
		if err != nil {
			t.Fatal(err)
		}
		var served []string
		for _, l := range w.Lanes {
			served = append(served, l.Kind)
		}
		if fmt.Sprint(served) != c.served || fmt.Sprint(w.Unserved) != c.unserved {
			t.Errorf("flags %v: served %v, unserved %v; want %s, %s", c.flags, served, w.Unserved, c.served, c.unserved)
		}
	}
}

func TestSecretsComeFromFilesAndAreNeverPrinted(t *testing.T) {
	path := file(t, "token", "token-secret\n")
	w, err := config.LoadWorker(source(nil, []string{stripeKey, "TWILIO_ACCOUNT_SID=AC1", "TWILIO_AUTH_TOKEN_FILE=" + path,
		"OUTBOXD_MONGODB_URI_FILE=" + file(t, "uri", "mongodb://u:pa55word@h/db\n")}))
	if err != nil {
		t.Fatal(err)
	}
	if w.Providers.Twilio.Token.Reveal() != "token-secret" || w.Mongo.Database != "db" {
		t.Errorf("the files were not read: %+v", w.Mongo)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		text := fmt.Sprintf(verb, w.Mongo) + fmt.Sprintf(verb, *w.Providers.Twilio) + fmt.Sprintf(verb, *w.Providers.Stripe)
		for _, secret := range []string{"token-secret", "pa55word", "sk_test_secret", "746f6b656e"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s shows a secret: %s", verb, text)
			}
		}
	}
}

func TestLogging(t *testing.T) {
	l, err := config.LoadLogging(source([]string{"log-level=debug"}, []string{"OUTBOXD_LOG_FORMAT=json"}))
	if err != nil || l.Level.String() != "DEBUG" || l.Format != config.LogJSON {
		t.Errorf("got %+v, %v", l, err)
	}
	_, err = config.LoadLogging(source([]string{"log-level=loud"}, []string{"OUTBOXD_LOG_FORMAT=xml"}))
	want := []string{`flag --log-level: is "loud", must be one of debug, info, warn, error`, `variable OUTBOXD_LOG_FORMAT: is "xml", must be one of text, json`}
	if got := problems(t, err); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestAdminOfTheFile(t *testing.T) {
	tokens := file(t, "tokens", "")
	path := file(t, "outboxd.yaml", `admin:
  listen: 127.0.0.1:1
  metrics_listen: 127.0.0.1:2
  base_path: /ops
  public_url: https://ops.example.com/
  read_only: true
  tokens_file: `+tokens+`
  oidc: {issuer: https://id.example.com, client_id: outboxd, name: email, groups: roles, scopes: [profile], roles: {sre: oncall}}
  proxy: {from: [10.1.2.3/8, 192.0.2.7], user: X-User, groups: X-Groups, role: read, roles: {sre: oncall}}
  roles:
    oncall: [read, operate]
    support: {rights: [read, reveal], kinds: [email]}
  mask: [metadata.customer_email]
  audit: {kept: 0s}
  approval_above: 7
`)
	a, err := config.LoadAdmin(source([]string{"config=" + path, "listen=127.0.0.1:3"}, []string{"OUTBOXD_ADMIN_BASE_PATH=/other", "OUTBOXD_ADMIN_OIDC_SECRET=s3cret"}))
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintln(a.Auth.Listen, a.MetricsListen, a.Auth.BasePath, a.Auth.PublicURL, a.Auth.ReadOnly, a.Auth.Tokens != nil, *a.Auth.OIDC, *a.Auth.Proxy,
		a.Auth.Roles["oncall"], a.Auth.Roles["support"], a.Auth.Roles["reveal"], a.Mask, a.AuditKept, a.Approval, a.Drain)
	want := "127.0.0.1:3 127.0.0.1:2 /other https://ops.example.com true true " +
		"{https://id.example.com outboxd s3cret https://ops.example.com/other/oidc/callback email roles [profile] map[sre:oncall]} " +
		"{[10.0.0.0/8 192.0.2.7/32] X-User X-Groups read map[sre:oncall]} {[read operate] []} {[read reveal] [email]} {[read reveal] []} [customer_email] -1ns 7 30s"
	if strings.Join(strings.Fields(got), " ") != want {
		t.Errorf("got\n  %s\nwant\n  %s", got, want)
	}
	a, err = config.LoadAdmin(source(nil, nil))
	if err != nil || a.Auth.Listen != "127.0.0.1:8427" || a.AuditKept != 9600*time.Hour || a.Approval != 100 || a.Auth.Tokens != nil {
		t.Errorf("without a file: %+v %v", a, err)
	}
}
