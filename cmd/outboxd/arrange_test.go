package main

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestArranged(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"stats --json":          "stats --json",
		"--mongodb-uri x stats": "stats --mongodb-uri x",
		"--mongodb-uri=x --database d dead show -- a": "dead show --mongodb-uri=x --database d -- a",
		"--mongodb-uri":  "--mongodb-uri",
		"help":           "--help",
		"help dead list": "dead list --help",
		"dead show help": "dead show help",
	} {
		if got := arranged(strings.Fields(line)); !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("%q is arranged as %q, want %q", line, got, want)
		}
	}
}

func TestFirstWords(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		line, want string
		code       int
	}{
		{"--version", "outboxd ", exitDone},
		{"help", "Usage: outboxd <command>", exitDone},
		{"help dead show", "Usage: outboxd dead show", exitDone},
		{"stats --bogus", "Run `outboxd stats --help`", exitWrongUse},
		{"dead show --bogus x", "Run `outboxd dead show --help`", exitWrongUse},
		{"bogus", "Run `outboxd --help`", exitWrongUse},
		{"--connect-timeout never stats", "never", exitWrongUse},
		{"lane pause sms --why=", "must say why", exitWrongUse},
	} {
		var out strings.Builder
		code := run(t.Context(), strings.Fields(c.line), nil, strings.NewReader(""), &out, &out)
		if code != c.code || !strings.Contains(out.String(), c.want) {
			t.Errorf("outboxd %s: exit code %d, want %d, and %q in\n%s", c.line, code, c.code, c.want, out.String())
		}
	}
}

func TestSinceDays(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for text, want := range map[string]time.Duration{"1d": 24 * time.Hour, "7d": 168 * time.Hour, "90m": 90 * time.Minute, "-1d": 0, "d": 0, "0d": 0, "1.5d": 0} {
		at, err := since(text, now)
		if want == 0 && err == nil || want != 0 && !at.Equal(now.Add(-want)) {
			t.Errorf("--since %s is %v, error %v", text, at, err)
		}
	}
}
