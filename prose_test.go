package outboxd_test

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// What a program can see of plain English. A sentence should have 25 words at most; past maxWords it is refused.
const (
	maxColumns = 120
	maxWords   = 30
)

// proseless are pages whose text is not ours to shape.
var proseless = map[string]string{
	"providers/simulator/contractcheck/testdata/README.md": "the vendors' licences and sources",
}

// A finding is one place that is hard to read.
type finding struct {
	line int
	what string
}

var (
	sentenceEnd = regexp.MustCompile(`[.!?]["')*_]*(\s|$)`)
	listItem    = regexp.MustCompile(`^\s*([-*+]|\d+\.)\s+`)
	commentWord = regexp.MustCompile(`(?m)^\s*//(go:|nolint|line )`)
)

// sentences returns the sentences of a page's paragraphs and list items, with the line on which each paragraph begins.
// Code, tables, headings and HTML are no prose.
func sentences(page string) (found []finding) {
	var paragraph []string
	start, fenced := 0, false
	flush := func() {
		text := strings.Join(paragraph, " ")
		paragraph = nil
		text = mdInline.ReplaceAllString(text, "code")
		text = mdLink.ReplaceAllString(text, "]")
		for text = strings.TrimSpace(text); text != ""; {
			end := len(text)
			if at := sentenceEnd.FindStringIndex(text); at != nil {
				end = at[1]
			}
			found = append(found, finding{start, strings.TrimSpace(text[:end])})
			text = strings.TrimSpace(text[end:])
		}
	}
	for n, line := range strings.Split(page, "\n") {
		trimmed := strings.TrimSpace(line)
		if strings.HasPrefix(trimmed, "```") {
			flush()
			fenced = !fenced
			continue
		}
		switch {
		case fenced:
			continue
		case trimmed == "", strings.HasPrefix(trimmed, "|"), strings.HasPrefix(trimmed, "#"), strings.HasPrefix(trimmed, "<"):
			flush()
			continue
		case listItem.MatchString(line):
			flush()
			line = listItem.ReplaceAllString(line, "")
		}
		if len(paragraph) == 0 {
			start = n + 1
		}
		paragraph = append(paragraph, strings.TrimSpace(strings.TrimPrefix(trimmed, "> ")))
		if listItem.MatchString(trimmed) {
			paragraph[len(paragraph)-1] = strings.TrimSpace(line)
		}
	}
	flush()
	return found
}

// words counts what a reader says aloud: signs alone are no words.
func words(sentence string) int {
	n := 0
	for word := range strings.FieldsSeq(sentence) {
		if strings.ContainsFunc(word, func(c rune) bool { return unicode.IsLetter(c) || unicode.IsDigit(c) }) {
			n++
		}
	}
	return n
}

// longLines returns the lines of prose past maxColumns. A table's row and a line of code cannot be broken at will; neither
// can a line that is one long link.
func longLines(page string) (found []finding) {
	fenced := false
	for n, line := range strings.Split(page, "\n") {
		trimmed := strings.TrimSpace(line)
		if strings.HasPrefix(trimmed, "```") {
			fenced = !fenced
			continue
		}
		if !fenced && !strings.HasPrefix(trimmed, "|") && len(strings.Fields(trimmed)) > 2 && utf8.RuneCountInString(line) > maxColumns {
			found = append(found, finding{n + 1, "is longer than " + strconv.Itoa(maxColumns) + " columns"})
		}
	}
	return found
}

// badPage returns everything on a page that is hard to read.
func badPage(page string, private map[string]string) []finding {
	found := longLines(page)
	for _, s := range sentences(page) {
		if n := words(s.what); n > maxWords {
			found = append(found, finding{s.line, "has a sentence of " + strconv.Itoa(n) + " words: " + s.what})
		}
		found = append(found, privateWords(s, private)...)
	}
	return found
}

// privateWords returns those words of a sentence for which the glossary has a better one.
func privateWords(s finding, private map[string]string) (found []finding) {
	for _, word := range strings.FieldsFunc(s.what, func(c rune) bool { return !unicode.IsLetter(c) && c != '-' }) {
		if better, ok := private[word]; ok {
			found = append(found, finding{s.line, "says " + word + ", a private word: say " + better})
		}
	}
	return found
}

// glossaryRow is a row of the glossary's last table: a word in code, and the words to use instead.
var glossaryRow = regexp.MustCompile("(?m)^\\| `([A-Za-z-]+)` \\| (.+?) \\|$")

// privateOf reads the words that nobody outside would know from the glossary.
func privateOf(glossary string) map[string]string {
	_, table, _ := strings.Cut(glossary, "## Words that we do not use")
	private := make(map[string]string)
	for _, row := range glossaryRow.FindAllStringSubmatch(table, -1) {
		private[row[1]] = row[2]
	}
	return private
}

func glossary(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("docs/glossary.md")
	if err != nil {
		t.Fatal(err)
	}
	private := privateOf(string(text))
	if len(private) < 5 {
		t.Fatalf("docs/glossary.md has %d words that we do not use: is its table still there?", len(private))
	}
	return private
}

func TestProseOfPages(t *testing.T) {
	t.Parallel()
	private := glossary(t)
	for path, page := range markdown(t) {
		if proseless[path] != "" {
			continue
		}
		if path == filepath.Join("docs", "glossary.md") {
			page, _, _ = strings.Cut(page, "## Words that we do not use")
		}
		for _, f := range badPage(page, private) {
			t.Errorf("%s:%d %s", path, f.line, f.what)
		}
	}
}

// badComments returns what is hard to read in the comments of a Go file.
func badComments(src []byte, private map[string]string) ([]finding, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "", src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	lines := strings.Split(string(src), "\n")
	var found []finding
	for _, group := range file.Comments {
		for _, c := range group.List {
			first := fset.Position(c.Pos()).Line
			if commentWord.MatchString(c.Text) {
				continue
			}
			for i := range strings.Split(c.Text, "\n") {
				line := strings.TrimLeft(lines[first+i-1], "\t")
				columns := 4*(len(lines[first+i-1])-len(line)) + utf8.RuneCountInString(line)
				// Where a comment follows code, the code decides the length. After a tab stands an example.
				if columns > maxColumns && strings.HasPrefix(line, "//") && !strings.HasPrefix(line, "//\t") {
					found = append(found, finding{first + i, "is longer than " + strconv.Itoa(maxColumns) + " columns"})
				}
			}
			found = append(found, privateWords(finding{first, c.Text}, private)...)
		}
	}
	return found, nil
}

func TestProseOfComments(t *testing.T) {
	t.Parallel()
	private := glossary(t)
	err := filepath.WalkDir(".", func(path string, d os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && strings.HasPrefix(d.Name(), "."):
			return filepath.SkipDir
		}
		if d.IsDir() || filepath.Ext(path) != ".go" || path == "prose_test.go" {
			return nil
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		found, err := badComments(src, private)
		for _, f := range found {
			t.Errorf("%s:%d %s", path, f.line, f.what)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestHardProseIsNoticed(t *testing.T) {
	t.Parallel()
	private := privateOf("| `outside` | elsewhere |\n## Words that we do not use\n| `tempo` | batch size |\n")
	long := strings.Repeat("a ", maxWords+1)
	for name, test := range map[string]struct {
		page string
		line int // 0: nothing is wrong
	}{
		"a short sentence":                        {"It is short.", 0},
		"a sentence that is too long":             {"# Title\n\n" + long + "end.", 3},
		"two sentences on one line":               {strings.Repeat("a ", maxWords-2) + "end.\n" + strings.Repeat("a ", maxWords-2) + "end.", 0},
		"a sentence that goes on in a list":       {"One:\n* " + long, 2},
		"a list of short items without full stop": {strings.Repeat("* four words are here\n", 20), 0},
		"a long row of a table":                   {"| " + long + long + long + " |", 0},
		"a long line of code":                     {"```\n" + long + long + long + "\n```", 0},
		"prose after code":                        {"```\ncode\n```\n" + long, 4},
		"code in a sentence is one word":          {"Run `" + long + "`.", 0},
		"a line that is too wide":                 {strings.Repeat("a sentence of five words. ", 6), 1},
		"a link that is too wide to break":        {"[x](https://example.org/" + strings.Repeat("x", maxColumns) + ")", 0},
		"a private word":                          {"One.\n\nIts tempo grows.", 3},
		"a private word in code":                  {"The field `tempo` grows.", 0},
		"a word that stands in another table":     {"It is outside.", 0},
	} {
		t.Run(name, func(t *testing.T) {
			found := badPage(test.page, private)
			switch {
			case test.line == 0 && len(found) > 0:
				t.Errorf("refused: %v", found)
			case test.line > 0 && (len(found) == 0 || found[0].line != test.line):
				t.Errorf("found %v, want something on line %d", found, test.line)
			}
		})
	}
}

func TestHardCommentsAreNoticed(t *testing.T) {
	t.Parallel()
	private := map[string]string{"tempo": "batch size"}
	wide := strings.Repeat("five ", 25)
	for name, test := range map[string]struct {
		comment string
		bad     bool
	}{
		"a short one":                    {"// f does nothing.\nfunc f() {}", false},
		"a wide one":                     {"// " + wide + "\nfunc f() {}", true},
		"a wide example":                 {"// f:\n//\n//\t" + wide + "\nfunc f() {}", false},
		"a wide one in a function":       {"func f() {\n\t\t// " + wide[:maxColumns-8] + "\n}", true},
		"one that only fits at the left": {"// " + wide[:maxColumns-8] + "\nfunc f() {}", false},
		"one behind code":                {"var x = 1 // " + wide, false},
		"a directive":                    {"//go:generate " + wide + "\nfunc f() {}", false},
		"a private word":                 {"// f doubles the tempo.\nfunc f() {}", true},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := badComments([]byte("package p\n\n"+test.comment+"\n"), private)
			if err != nil {
				t.Fatal(err)
			}
			if (len(found) > 0) != test.bad {
				t.Errorf("found %v, want bad: %v", found, test.bad)
			}
		})
	}
}
