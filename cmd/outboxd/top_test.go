package main

import (
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/outboxd/outboxd/admin"
	"github.com/outboxd/outboxd/outbox"
)

// atTerminal starts this test binary as outboxd at a terminal of 120 columns.
func atTerminal(t *testing.T, env []string, args ...string) (*exec.Cmd, *os.File) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(slices.Clone(env), runAsOutboxd)
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 40, Cols: 120})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = terminal.Close()
	})
	return cmd, terminal
}

// On a terminal top shows the lanes until q, and leaves the screen as it was.
func TestTopFillsATerminalUntilQ(t *testing.T) {
	w := newWorld(t)
	w.insert(t, intent("sms", "waits"))
	w.census(t, "sms")
	cmd, terminal := atTerminal(t, append(w.env, "TERM=xterm-256color"), "top")
	log := newLogLines()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(log, terminal) // it ends with an error, as terminals do
	}()
	shown := log.awaitText(t, "no worker serves sms")
	for _, want := range []string{"\x1b[?1049h", "q leaves"} {
		if !strings.Contains(shown, want) {
			t.Errorf("no %q in %q", want, shown)
		}
	}
	log.awaitText(t, "LAST HALF HOUR")
	if _, err := terminal.WriteString("q"); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("q: %v", err)
	}
	<-ended
	if !strings.Contains(log.String(), "\x1b[?1049l") {
		t.Error("the screen is not given back")
	}
}

// What cannot be filled is refused before anything is connected.
func TestTopRefusesWhatItCannotFill(t *testing.T) {
	nowhere := []string{"OUTBOXD_MONGODB_URI=mongodb://127.0.0.1:1/?replicaSet=rs0"}
	if r := must(t, exitWrongUse, append(nowhere, "TERM=xterm"), "top"); !strings.Contains(r.err, "its output is none") || !strings.Contains(r.err, "outboxd stats --watch") {
		t.Errorf("in a pipe: %s", r.err)
	}
	cmd, terminal := atTerminal(t, append(nowhere, "TERM=dumb"), "top")
	log := newLogLines()
	_, _ = io.Copy(log, terminal)
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitWrongUse || !strings.Contains(oneLine(log.String()), "cannot move the cursor") || strings.Contains(log.String(), "\x1b") {
		t.Errorf("at a dumb terminal: exit code %d, %q", code, log.String())
	}
}

func TestTopScreen(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	view := admin.Overview{At: now, Age: 3 * time.Second, Needs: []admin.Need{{Kind: "sms", Urgent: true, Text: "sms is held: unauthorized. 3 wait", Remedy: "Correct the credentials."}},
		Cards: []admin.Card{{Lane: admin.Lane{Kind: "sms", State: admin.LaneHeld, Workers: 2, InFlight: 7}, P50: 41 * time.Millisecond, P95: 1800 * time.Millisecond,
			Census: outbox.KindCensus{Waiting: outbox.Count{N: 10_000, Capped: true}, Due: outbox.Count{N: 40}, OldestDue: now.Add(-78 * time.Second)},
			Hour: []outbox.RateMinute{{Minute: now.Truncate(time.Minute).Add(-2 * time.Minute), RateCounters: outbox.RateCounters{Done: 50, Dead: 5}},
				{Minute: now.Truncate(time.Minute).Add(-20 * time.Minute), RateCounters: outbox.RateCounters{Done: 25}}}}}}
	got := top{view: view, seen: true}.text()
	checkHuman(t, got)
	for _, want := range []string{"2026-01-02 03:04:05Z counted 3s ago", "! sms is held: unauthorized. 3 wait. Correct the credentials.",
		"sms held 10,000+ 40 1m18s 10.0 1.0 ▁▁▁▁▁▄▁▁▁▁▁▁▁▁█ 41ms/1.8s 7/2w"} {
		if !strings.Contains(oneLine(got), want) {
			t.Errorf("no %q in:\n%s", want, got)
		}
	}
	if got := (top{view: view, seen: true, err: io.ErrUnexpectedEOF}).text(); !strings.Contains(got, "does not answer") || !strings.Contains(got, "LANE") {
		t.Errorf("without a database the last figures stay:\n%s", got)
	}
}

// A shell that asks is told commands, flags and values.
func TestCompletion(t *testing.T) {
	for line, want := range map[string][]string{
		"outboxd ": {"worker", "find", "top", "jobs", "completion"}, "outboxd dead ": {"list", "groups", "show", "retry", "discard", "export"},
		"outboxd dead list --rea": {"--reason"}, "outboxd dead list --reason ": {"ambiguous", "exhausted"}, "outboxd lane pause ": {"charge", "email", "sms"},
		"outboxd find --status in": {"in-doubt"}, "outboxd find --output ": {"table", "json", "yaml"}, "outboxd dead list --code opt": {"opted_out"},
	} {
		p := launch(t, []string{"COMP_LINE=" + line}, "outboxd", "x", "y")
		if code := p.end(t); code != exitDone {
			t.Errorf("%q: exit code %d, %s", line, code, p.log)
		}
		got := strings.Fields(p.out.String())
		for _, word := range want {
			if !slices.Contains(got, word) {
				t.Errorf("%q: no %s in %v", line, word, got)
			}
		}
		if slices.Contains(got, "bench-worker") {
			t.Errorf("%q: what is hidden is told: %v", line, got)
		}
	}
	for shell, want := range map[string]string{"bash": "complete -o default", "zsh": "bashcompinit", "fish": "complete -f -c outboxd"} {
		if r := must(t, exitDone, nil, "completion", "-c", shell); !strings.Contains(r.out, want) {
			t.Errorf("completion %s: %s", shell, r.out)
		}
	}
	if r := must(t, exitDone, nil, "completion", "bash"); !strings.Contains(r.out, "source <(outboxd completion -c bash)") {
		t.Errorf("completion bash: %s", r.out)
	}
}
