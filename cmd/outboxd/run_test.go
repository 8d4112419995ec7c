package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// everyCommand is each command with a --help of its own.
var everyCommand = []string{"", "worker", "migrate", "dead", "dead list", "dead groups", "dead show", "dead export", "dead retry", "show", "find", "resolve", "cancel", "dead discard", "jobs", "jobs list", "jobs show", "jobs approve", "jobs resume", "jobs pause", "jobs stop", "jobs run", "lane", "lane list", "lane pause", "lane resume", "audit", "workers", "stats", "top", "completion", "doctor", "schema", "sim", "demo", "version"}

func TestHelpTeachesAndFits(t *testing.T) {
	for _, command := range everyCommand {
		r := must(t, exitDone, nil, append(strings.Fields(command), "--help")...)
		checkHuman(t, r.out)
		if !strings.Contains(r.out, "Usage: outboxd") || r.err != "" {
			t.Errorf("%q --help:\n%s%s", command, r.out, r.err)
		}
	}
	r := must(t, exitDone, nil, "worker", "--help")
	for _, want := range []string{"$OUTBOXD_MONGODB_URI", "$OUTBOXD_DATABASE", "$OUTBOXD_COLLECTION", "$OUTBOXD_CONFIG", "$OUTBOXD_LISTEN", "$OUTBOXD_DRAIN", "$OUTBOXD_LOG_LEVEL", "$OUTBOXD_LOG_FORMAT", "--until-empty", "--within", "--kinds", "--migrate", "127.0.0.1:8425"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("worker --help does not name %s", want)
		}
	}
	if r := must(t, exitDone, nil); !strings.Contains(r.out, "Usage: outboxd") {
		t.Errorf("outboxd alone:\n%s", r.out)
	}
}

func TestWrongUseEndsWithTwo(t *testing.T) {
	uri := []string{"OUTBOXD_MONGODB_URI=mongodb://127.0.0.1:1/?replicaSet=rs0"}
	for _, c := range []struct {
		args string
		want string
	}{
		{"bogus", "bogus"},
		{"worker --bogus", "--bogus"},
		{"worker", "providers: none is configured"},
		{"migrate down", "down"},
		{"migrate status --dry-run", "flag --dry-run: means nothing with status"},
		{"schema --kind fax", `flag --kind: no schema for kind "fax"`},
		{"dead", "list"},
		{"dead show", "<id>"},
		{"dead list --reason bored --code tired --since yesterday --limit 0", "4 problems"},
		{"stats --database a/b --collection $", "2 problems"},
		{"sim --stripe-port 99999", "--stripe-port"},
	} {
		r := must(t, exitWrongUse, uri, strings.Fields(c.args)...)
		if !strings.Contains(r.err, c.want) || r.out != "" {
			t.Errorf("outboxd %s:\n%s%s\nwant %q", c.args, r.out, r.err, c.want)
		}
	}
}

func TestEveryProblemIsToldAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "outboxd.yaml")
	if err := os.WriteFile(path, []byte("lanes: {charge: {lease: 10s, colour: red}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := must(t, exitWrongUse, []string{"OUTBOXD_MONGODB_URI=mongodb://u:pa55word@/", "OUTBOXD_LOG_LEVEL=loud", "STRIPE_API_KEY=sk_test_secret4711", "STRIPE_API_KEY_FILE=/x"},
		"worker", "--config", path, "--drain", "soon", "--kinds", "charge,sms")
	for _, want := range []string{
		"7 problems with the configuration:",
		"variable OUTBOXD_MONGODB_URI: is no connection string",
		"variable STRIPE_API_KEY: and STRIPE_API_KEY_FILE are both set",
		`flag --drain: "soon" is no duration`,
		"outboxd.yaml:1: lanes.charge.colour: is an unknown key",
		"outboxd.yaml:1: lanes.charge.lease: is 10s, must be at least timeout + 5s (25s)",
		"flag --kinds: sms has no provider: set TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN",
		`variable OUTBOXD_LOG_LEVEL: is "loud", must be one of debug, info, warn, error`,
	} {
		if !strings.Contains(r.err, want) {
			t.Errorf("missing: %s", want)
		}
	}
	for _, secret := range []string{"pa55word", "secret4711"} {
		if strings.Contains(r.err, secret) {
			t.Errorf("a secret is shown")
		}
	}
	if t.Failed() {
		t.Log(r.err)
	}
}

func TestMongoDBThatDoesNotAnswerIsAFailure(t *testing.T) {
	t.Parallel()
	env := []string{"OUTBOXD_MONGODB_URI=mongodb://u:pa55word@127.0.0.1:1/?replicaSet=rs0", "STRIPE_API_KEY=sk_test_secret4711"}
	for _, command := range []string{"worker", "migrate", "stats"} {
		r := must(t, exitFailed, env, command, "--connect-timeout", "1s")
		if !strings.Contains(r.err, "did not answer within 1s (--connect-timeout)") || strings.Contains(r.err, "pa55word") {
			t.Errorf("%s: %s", command, r.err)
		}
	}
}

func TestSchemaAndVersion(t *testing.T) {
	for _, kind := range []string{"", "charge", "email", "sms"} {
		args := []string{"schema"}
		if kind != "" {
			args = append(args, "--kind", kind)
		}
		r := must(t, exitDone, nil, args...)
		if !strings.Contains(r.out, `"$schema": "http://json-schema.org/draft-07/schema#`) {
			t.Errorf("schema %s:\n%s", kind, r.out)
		}
	}
	if r := must(t, exitDone, nil, "version"); !strings.HasPrefix(r.out, "outboxd ") {
		t.Errorf("version: %s", r.out)
	}
}

// What a person asked for and cannot get is a failure, not silence.
func TestOutputThatNobodyTakesIsAFailure(t *testing.T) {
	var errOut bytes.Buffer
	if code := run(context.Background(), []string{"version"}, nil, strings.NewReader(""), full{}, &errOut); code != exitFailed {
		t.Errorf("exit code %d, %s", code, errOut.String())
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, os.ErrClosed }
