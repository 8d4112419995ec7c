package outbox

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

//go:generate go test -run ^TestCodesDocument$ -update

var update = flag.Bool("update", false, "write docs/codes.md anew")

const codesDocument = "../docs/codes.md"

type classMeaning struct {
	class            Class
	meaning, follows string
	counts           bool
}

// classMeanings and reasonMeanings are the tables above the codes. A class or reason that is missing here fails the
// test.
var classMeanings = []classMeaning{
	{Done, "The provider has it.", "`done`, with `on_done` and `write_back`.", true},
	{Transient, "Surely not acted upon.", "Tried again after a backoff with full jitter; `dead`/`exhausted` after the last attempt.", true},
	{RateLimited, "Refused, not acted upon.", "Tried again at the provider's instant; the whole lane waits, on every worker.", false},
	{Permanent, "The provider's final no.", "`dead`/`permanent`, with `on_dead` and `write_back`.", true},
	{Ambiguous, "Nobody can know whether the provider acted.", "`on_ambiguous`: repeated (`retry`), asked about (`reconcile`), or `dead`/`ambiguous` (`park`).", true},
	{Hold, "Our credentials or our account are wrong.", "The lane holds and says so; its intents stay `pending`.", false},
	{Invalid, "The document breaks the contract; it was not sent.", "`dead`/`invalid`.", false},
	{Expired, "`expires_at` passed before it was sent.", "`dead`/`expired`.", false},
}

var reasonMeanings = []struct {
	reason  DeadReason
	meaning string
}{
	{ReasonPermanent, "The provider gave its final no."},
	{ReasonExhausted, "No attempt is left, and none had an effect."},
	{ReasonExpired, "`expires_at` passed before it was sent."},
	{ReasonAmbiguous, "Nobody can know whether the provider acted; a person must compare with the provider's records before it is sent again."},
	{ReasonInvalid, "The document breaks the contract; `last_error.message` lists the problems."},
}

// TestCodesDocument fails when docs/codes.md is not what the source says. "go generate ./outbox" writes it anew.
func TestCodesDocument(t *testing.T) {
	want := codesText()
	if *update {
		if err := os.MkdirAll("../docs", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(codesDocument, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(codesDocument)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("docs/codes.md is stale: run go generate ./outbox")
	}
}

func codesText() string {
	var b strings.Builder
	b.WriteString(`# Classes, reasons and codes

<!-- Generated from the package outbox by "go generate ./outbox". Do not edit. -->

Every attempt ends with a class, and most with a code. They stand in the documents (` + "`last_error`, `history`,\n`dead_reason`" + `), the logs and the metrics. These words are public: some are added, none is renamed or given another
meaning.

## Classes: ` + "`last_error.class`" + `, and the outcomes in ` + "`history`" + `

| class | meaning | what follows | counts as an attempt |
|---|---|---|---|
`)
	for _, c := range classMeanings {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", c.class, c.meaning, c.follows, map[bool]string{true: "yes", false: "no"}[c.counts])
	}
	b.WriteString("\n## Reasons of dead letters: `dead_reason`\n\n| reason | meaning |\n|---|---|\n")
	for _, r := range reasonMeanings {
		fmt.Fprintf(&b, "| `%s` | %s |\n", r.reason, r.meaning)
	}
	b.WriteString("\n## Codes: `last_error.code`\n\n| code | classes | meaning | what to do |\n|---|---|---|---|\n")
	for _, c := range Codes() {
		var classes []string
		for _, class := range c.Classes {
			classes = append(classes, "`"+string(class)+"`")
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", c.Code, strings.Join(classes, ", "), c.Meaning, c.Remedy)
	}
	return b.String()
}

// TestEveryNameIsDocumented compares the tables with the constants in the source.
func TestEveryNameIsDocumented(t *testing.T) {
	var codes, classes, reasons []string
	for _, c := range Codes() {
		codes = append(codes, c.Code)
		if len(c.Classes) == 0 || c.Meaning == "" || c.Remedy == "" || strings.ContainsAny(c.Meaning+c.Remedy, "|\n") {
			t.Errorf("code %s is not described", c.Code)
		}
		for _, class := range c.Classes {
			if !slices.ContainsFunc(classMeanings, func(m classMeaning) bool { return m.class == class }) {
				t.Errorf("code %s has the class %q, which is none", c.Code, class)
			}
		}
	}
	for _, c := range classMeanings {
		classes = append(classes, string(c.class))
	}
	for _, r := range reasonMeanings {
		reasons = append(reasons, string(r.reason))
	}
	for _, group := range []struct {
		file, prefix, typ string
		documented        []string
	}{
		{"codes.go", "Code", "", codes},
		{"failure.go", "", "Class", classes},
		{"intent.go", "Reason", "DeadReason", reasons},
	} {
		declared := constants(t, group.file, group.prefix, group.typ)
		if !slices.Equal(slices.Sorted(slices.Values(declared)), slices.Sorted(slices.Values(group.documented))) {
			t.Errorf("%s declares %v, documented are %v", group.file, declared, group.documented)
		}
	}
}

// constants returns the values of a file's string constants with a prefix of the name and a type, if given.
func constants(t *testing.T, file, prefix, typ string) []string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		name, _ := spec.Type.(*ast.Ident)
		for i, ident := range spec.Names {
			if i >= len(spec.Values) || !strings.HasPrefix(ident.Name, prefix) || typ != "" && (name == nil || name.Name != typ) {
				continue
			}
			if lit, ok := spec.Values[i].(*ast.BasicLit); ok && lit.Kind == token.STRING {
				value, err := strconv.Unquote(lit.Value)
				if err != nil {
					t.Fatal(err)
				}
				values = append(values, value)
			}
		}
		return true
	})
	return values
}
