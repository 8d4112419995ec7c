package config_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/outboxd/outboxd/cmd/internal/config"
)

// fuzzed is a secret as it may stand in any of the variables. It is long, so that chance does not write it.
const fuzzed = "s3cr3t-0123456789-never-show-this"

// FuzzConfig: whatever stands in the file and the environment, there is a configuration that holds together, or a
// list of problems, each of which names its place; no panic, and no secret in it.
func FuzzConfig(f *testing.F) {
	example, err := os.ReadFile("../../../outboxd.example.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, yaml := range []string{
		string(example), "", "---\n", "lanes:", "lanes: {charge: {rate: 1/s}}", "lanes: &a {sms: *a}", "a: &a [*a, *a]", "<<: {<<: {lanes: {}}}", "lanes: {? [a]: b}", "? a\n? b", "? a\x00: b", "lanes: {\"a\\nb\": 1}",
		"lanes:\n\tcharge: 1", "%YAML 1.2\n---\n!!map {lanes: !!str x}", "lanes: {charge: {timeout: 9223372036s, lease: -1s}}", "lanes: {charge: {concurrency: 1_000, rate: 0x10/s}}",
		"write_back: {collections: [a, 'b', \"\\u0000\", 1, ~, [x]]}", "retention: {done: 1h, cancelled: .inf}", "lanes: {email: {breaker: {failure_ratio: .nan, buckets: 9999999999999999999}}}", "- |\n  x", "\xff\xfe", "{" + strings.Repeat("[", 500),
	} {
		f.Add([]byte(yaml), "OUTBOXD_DRAIN", "10s", "mongodb://u:p@h/db", fuzzed)
	}
	for _, variable := range []string{"OUTBOXD_DATABASE", "OUTBOXD_COLLECTION", "OUTBOXD_LISTEN", "OUTBOXD_CONNECT_TIMEOUT", "STRIPE_API_URL", "SENDGRID_API_URL", "TWILIO_API_URL", "TWILIO_ACCOUNT_SID", "OUTBOXD_LOG_LEVEL"} {
		for _, value := range []string{"", "x", "a b", "\x00", "http://user:" + fuzzed + "@h/", ":8425", "[::1]:x", "127.0.0.1:99999", "-5s", "9999999h", "debug"} {
			f.Add([]byte("lanes: {}"), variable, value, "mongodb://h1,h2/?replicaSet=rs0&authSource=admin", fuzzed)
		}
	}
	for _, uri := range []string{"mongodb://user:" + fuzzed + "@h:1/db?x=y", "mongodb+srv://user:" + fuzzed + "@h/", "mongodb://" + fuzzed, "mongodb://user:" + fuzzed + "%@h", "http://" + fuzzed, "mongodb://a:b@/" + "%zz", "mongodb://h/?maxPoolSize=" + fuzzed} {
		f.Add([]byte(""), "OUTBOXD_DRAIN", "1s", uri, fuzzed+" ")
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, yaml []byte, variable, value, uri, secret string) {
		file, err := os.CreateTemp(dir, "*.yaml")
		if err != nil {
			t.Fatal(err)
		}
		defer os.Remove(file.Name())
		defer file.Close()
		if _, err := file.Write(yaml); err != nil {
			t.Fatal(err)
		}
		env := map[string]string{"OUTBOXD_CONFIG": file.Name(), "OUTBOXD_MONGODB_URI": uri, "SENDGRID_API_KEY": secret, "TWILIO_AUTH_TOKEN": fuzzed, "TWILIO_ACCOUNT_SID": "AC1"}
		if _, isOurs := env[variable]; !isOurs && !strings.HasSuffix(variable, "_FILE") {
			env[variable] = value
		}
		src := config.Source{Env: func(name string) string { return env[name] }}
		w, err := config.LoadWorker(src)
		_, logErr := config.LoadLogging(src)
		if err := config.Join(err, logErr); err != nil {
			refused(t, err)
			return
		}
		if len(w.Lanes) == 0 || w.Listen == "" || w.Drain < 0 || w.Mongo.Database == "" || w.Mongo.Collection == "" || w.Retention.Done <= 0 {
			t.Errorf("accepted as %+v", w)
		}
		for _, l := range w.Lanes {
			if l.Concurrency < 1 || l.Timeout <= 0 || l.Lease < l.Timeout+5*time.Second || !(l.Rate >= 0) {
				t.Errorf("accepted the lane %+v", l)
			}
		}
		if shown := fmt.Sprintf("%v %+v %#v", w, w, w); strings.Contains(shown, fuzzed) && !strings.Contains(value, fuzzed) {
			t.Errorf("the configuration shows a secret: %s", shown)
		}
	})
}

// refused checks what a person is told.
func refused(t *testing.T, err error) {
	t.Helper()
	problems, ok := errors.AsType[config.Problems](err)
	if !ok || len(problems) == 0 {
		t.Fatalf("the error is %T: %v", err, err)
	}
	for _, p := range problems {
		if p.Where == "" || p.Text == "" {
			t.Errorf("a problem without a place or a text: %+v", p)
		}
		if strings.Contains(p.String(), fuzzed) {
			t.Errorf("a problem shows a secret: %s", p)
		}
		if strings.ContainsFunc(p.String(), unicode.IsControl) {
			t.Errorf("a problem of several lines: %q", p)
		}
	}
}
