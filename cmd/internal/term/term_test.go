package term_test

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/outboxd/outboxd/cmd/internal/term"
)

func none(string) string { return "" }

func TestTableFitsTheWidthAndCutsWhatGivesWay(t *testing.T) {
	table := term.NewTable(term.Column{Name: "ID", Flex: true}, term.Column{Name: "COUNT", Right: true}, term.Column{Name: "TEXT", Flex: true})
	table.Row(strings.Repeat("i", 60), "7", strings.Repeat("ü", 300))
	table.Row("short", "12345678", "x\x1b[31m\ny\u202e")
	var out bytes.Buffer
	if err := table.Write(&out, term.NewStyle(&out, none)); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 3 {
		t.Fatalf("got %d lines:\n%s", len(lines), out.String())
	}
	for _, line := range lines {
		if n := utf8.RuneCountInString(line); n > term.Width {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	if !strings.Contains(lines[1], strings.Repeat("i", 60)+"         7  üü") || !strings.HasSuffix(lines[1], "ü…") {
		t.Errorf("the first row is %q", lines[1])
	}
	if !strings.Contains(lines[2], "x?[31m?y?") {
		t.Errorf("control characters reached the terminal: %q", lines[2])
	}
}

func TestColourIsForTerminalsAlone(t *testing.T) {
	var out bytes.Buffer
	style := term.NewStyle(&out, none)
	if got := style.Red("x") + style.Bold("y"); got != "xy" {
		t.Errorf("got %q", got)
	}
	if term.IsTerminal(&out) {
		t.Error("a buffer is no terminal")
	}
}

func TestWrap(t *testing.T) {
	text := term.Wrap(strings.Repeat("word ", 60)+strings.Repeat("l", 150), "  ")
	for line := range strings.SplitSeq(text, "\n") {
		if n := utf8.RuneCountInString(line); n > term.Width || !strings.HasPrefix(line, "  ") {
			t.Errorf("%d columns: %q", n, line)
		}
	}
	if got := strings.Count(text, "word"); got != 60 {
		t.Errorf("%d words are left of 60", got)
	}
	if got := term.Wrap("a\x1bb", ""); got != "a?b" {
		t.Errorf("got %q", got)
	}
}
