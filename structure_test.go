// Package outboxd_test holds the rules of this repository that a program can check: who may import whom, what the
// shipped binaries may carry, and what no file may contain.
package outboxd_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/outboxd/outboxd"

// layer says what a package may import besides the standard library. Both lists are exact: an import that is not there
// is refused, and one that no longer happens has to leave the table.
type layer struct {
	own     []string // packages of this module
	outside []string // modules, without their packages
	may     []string // modules that may be there: testing libraries of packages that only tests import
}

const (
	driver    = "go.mongodb.org/mongo-driver/v2"
	gobreaker = "github.com/sony/gobreaker/v2"
)

// table is the architecture's. Whatever stands below cmd, integration and examples may import everything.
var table = map[string]layer{
	"outbox":     {},
	"admin/api":  {own: []string{"admin", "outbox"}, outside: []string{"github.com/danielgtaylor/huma/v2"}},
	"admin/auth": {outside: []string{"github.com/coreos/go-oidc/v3", "golang.org/x/crypto", "golang.org/x/oauth2"}},
	"dispatcher": {own: []string{"dispatcher/internal/schedule", "internal/timing", "outbox"}, outside: []string{gobreaker, "golang.org/x/time"}},

	"dispatcher/internal/schedule":          {own: []string{"outbox"}},
	"dispatcher/internal/schedule/simulate": {own: []string{"dispatcher/internal/schedule", "outbox"}},

	"providers":              {own: []string{"outbox"}},
	"providers/stripe":       {own: []string{"outbox", "providers"}, outside: []string{"github.com/stripe/stripe-go/v76"}},
	"providers/sendgrid":     {own: []string{"outbox", "providers"}, outside: []string{"github.com/sendgrid/rest", "github.com/sendgrid/sendgrid-go"}},
	"providers/twilio":       {own: []string{"outbox", "providers"}, outside: []string{"github.com/twilio/twilio-go", "golang.org/x/text"}},
	"providers/simulator":    {},
	"providers/providertest": {own: []string{"outbox", "providers", "providers/simulator"}},
	"admin":                  {own: []string{"outbox"}},
	"admin/page":             {own: []string{"admin", "outbox"}, outside: []string{"github.com/a-h/templ"}},
	"admin/jobs":             {own: []string{"admin", "internal/timing", "outbox"}},
	"admin/live":             {own: []string{"admin", "internal/timing"}},
	"store":                  {own: []string{"internal/timing", "outbox", "store/internal/expr", "store/internal/scan"}, outside: []string{driver}},
	"store/internal/expr":    {outside: []string{driver}},
	"store/internal/scan":    {},
	"store/memory":           {own: []string{"outbox"}},
	"store/storetest":        {own: []string{"outbox"}, may: []string{"pgregory.net/rapid"}},
	"internal/timing":        {},
	"migrations":             {own: []string{"internal/timing"}, outside: []string{driver}},
}

// shipped are the programs that users run. What belongs to tests must not be in them.
var shipped = []string{"./cmd/outboxd", "./cmd/api"}

var notShipped = []string{"testing", "github.com/testcontainers/", "go.uber.org/goleak", "pgregory.net/rapid", "github.com/stretchr/testify", module + "/integration/mongodb/mongotest"}

// goPackage is what `go list -json` says of a package.
type goPackage struct {
	ImportPath   string
	Dir          string
	GoFiles      []string
	TestGoFiles  []string
	XTestGoFiles []string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

func (p goPackage) path() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
}

// goCommand runs the go command at the root of the module.
func goCommand(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return out
}

func packages(t *testing.T) []goPackage {
	t.Helper()
	var list []goPackage
	dec := json.NewDecoder(bytes.NewReader(goCommand(t, "list", "-json=ImportPath,Dir,GoFiles,TestGoFiles,XTestGoFiles,Imports,TestImports,XTestImports", "./...")))
	for {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return list
		} else if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
}

func TestImports(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, p := range packages(t) {
		path := p.path()
		l, listed := table[path]
		seen[path] = true
		switch top, _, _ := strings.Cut(path, "/"); {
		case listed:
			checkLayer(t, p, l)
		case path != "" && top != "cmd" && top != "integration" && top != "examples":
			t.Errorf("%s is not in the table of layers; add it to structure_test.go and to the architecture", path)
		}
	}
	for path := range table {
		if !seen[path] {
			t.Errorf("the table of layers has %s, which does not exist", path)
		}
	}
}

func checkLayer(t *testing.T, p goPackage, l layer) {
	t.Helper()
	used := make(map[string]bool)
	for _, imported := range p.Imports {
		switch own, isOwn := strings.CutPrefix(imported, module+"/"); {
		case isOwn && slices.Contains(l.own, own):
			used[own] = true
		case isOwn:
			t.Errorf("%s must not import %s", p.path(), own)
		case strings.Contains(strings.Split(imported, "/")[0], "."):
			i := slices.IndexFunc(slices.Concat(l.outside, l.may), func(m string) bool { return imported == m || strings.HasPrefix(imported, m+"/") })
			if i < 0 {
				t.Errorf("%s must not import %s", p.path(), imported)
				continue
			}
			used[slices.Concat(l.outside, l.may)[i]] = true
		}
	}
	for _, want := range slices.Concat(l.own, l.outside) {
		if !used[want] {
			t.Errorf("%s no longer imports %s: take it out of the table of layers", p.path(), want)
		}
	}
}

// A provider's tests do not need another provider either.
func TestProvidersDoNotKnowEachOther(t *testing.T) {
	t.Parallel()
	sdks := []string{"providers/stripe", "providers/sendgrid", "providers/twilio"}
	for _, p := range packages(t) {
		if !slices.Contains(sdks, p.path()) {
			continue
		}
		for _, imported := range slices.Concat(p.TestImports, p.XTestImports) {
			own := strings.TrimPrefix(imported, module+"/")
			if own != p.path() && slices.Contains(sdks, own) {
				t.Errorf("the tests of %s import %s", p.path(), own)
			}
		}
	}
}

func TestShippedBinariesCarryNoTests(t *testing.T) {
	t.Parallel()
	for _, program := range shipped {
		for dep := range strings.FieldsSeq(string(goCommand(t, "list", "-deps", program))) {
			if slices.ContainsFunc(notShipped, func(no string) bool { return dep == no || strings.HasPrefix(dep, no) && strings.HasSuffix(no, "/") }) {
				t.Errorf("%s links %s; find out why by `go mod why -m` or `go list -deps`", program, dep)
			}
		}
	}
}

func TestModuleStandsAlone(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"go.mod", "tools.mod"} {
		var mod struct {
			Module           struct{ Path string }
			Go               string
			Replace, Exclude []any
		}
		if err := json.Unmarshal(goCommand(t, "mod", "edit", "-json", file), &mod); err != nil {
			t.Fatal(err)
		}
		if len(mod.Replace)+len(mod.Exclude) > 0 {
			t.Errorf("%s has replace or exclude directives, which `go install` of this module refuses", file)
		}
		if !strings.HasPrefix(mod.Go, "1.26") || !strings.HasPrefix(mod.Module.Path, module) {
			t.Errorf("%s is of module %s for Go %s", file, mod.Module.Path, mod.Go)
		}
	}
}

// stateful are package-level variables that are no constants in all but name, each with its reason.
var stateful = map[string]string{
	"admin/page.files":                      "embedded files, which nobody can change",
	"cmd/api/httpapi.static":                "embedded files, which nobody can change",
	"cmd/outboxd.release":                   "set by the linker",
	"integration/mongodb/mongotest.current": "the one server of a test process, set up by Main",
	"store.durable":                         "a write concern, which the driver takes by pointer and never changes",
}

func TestPackages(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		commented := len(p.GoFiles) == 0
		for _, name := range slices.Concat(p.GoFiles, p.TestGoFiles, p.XTestGoFiles) {
			isTest := strings.HasSuffix(name, "_test.go")
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			where := filepath.Join(p.path(), name)
			if isTest {
				checkWaits(t, where, file)
			} else {
				checkState(t, p.path(), file)
				commented = commented || hasComment(file)
			}
			checkFunctions(t, where, file)
		}
		if !commented {
			t.Errorf("%s has no package comment that begins with \"Package %s\" or \"Command\"", p.path(), filepath.Base(p.path()))
		}
	}
}

func hasComment(file *ast.File) bool {
	text := file.Doc.Text()
	return strings.HasPrefix(text, "Package "+file.Name.Name+" ") || file.Name.Name == "main" && strings.HasPrefix(text, "Command ")
}

// bubbles are the packages whose tests run in bubbles of testing/synctest throughout, helpers and all: no time passes.
var bubbles = []string{"dispatcher", "integration/schedules"}

// lasting are the files whose tests keep a fault going for a stated time. They wait for nothing else.
var lasting = []string{"integration/process_test.go", "integration/promises_settle_test.go", "integration/chaos/majority_test.go"}

// checkFunctions refuses init, which runs at import.
func checkFunctions(t *testing.T, where string, file *ast.File) {
	t.Helper()
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
			t.Errorf("%s has an init function: let main, or the caller, do it", where)
		}
	}
}

// checkWaits refuses tests that wait by the clock, which is either too short or too long. A bound of something that is
// waited for stands in a select, and is none.
func checkWaits(t *testing.T, where string, file *ast.File) {
	t.Helper()
	if slices.Contains(bubbles, filepath.Dir(where)) || slices.Contains(lasting, where) || imports(file, "testing/synctest") {
		return
	}
	bounds := map[ast.Stmt]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		waits := false
		switch n := n.(type) {
		case *ast.CommClause:
			bounds[n.Comm] = true
		case *ast.ExprStmt: // a receive that is the whole statement, as in <-time.After(d)
			receive, ok := n.X.(*ast.UnaryExpr)
			waits = ok && receive.Op == token.ARROW && called(receive.X) == "time.After" && !bounds[n]
		case *ast.CallExpr:
			waits = slices.Contains([]string{"time.Sleep", "timing.Sleep"}, called(n))
		}
		if waits {
			t.Errorf("%s waits by the clock: wait for what happens instead, or use testing/synctest", where)
		}
		return true
	})
}

// called returns the name of the function of another package that e calls, such as time.Sleep, or "".
func called(e ast.Expr) string {
	if call, ok := e.(*ast.CallExpr); ok {
		if s, ok := call.Fun.(*ast.SelectorExpr); ok {
			if pkg, ok := s.X.(*ast.Ident); ok {
				return pkg.Name + "." + s.Sel.Name
			}
		}
	}
	return ""
}

func imports(file *ast.File, path string) bool {
	return slices.ContainsFunc(file.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == `"`+path+`"` })
}

// checkState refuses package-level variables that can only be there to be changed: those without a value, and those
// that are made, allocated, locked or counted with.
func checkState(t *testing.T, pkg string, file *ast.File) {
	t.Helper()
	for _, d := range file.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.VAR {
			continue
		}
		for _, spec := range g.Specs {
			v, ok := spec.(*ast.ValueSpec)
			if !ok {
				continue
			}
			for i, name := range v.Names {
				if name.Name == "_" || stateful[pkg+"."+name.Name] != "" {
					continue
				}
				if len(v.Values) <= i || isState(v.Values[i]) {
					t.Errorf("%s.%s is package-level state: hand it to who needs it", pkg, name.Name)
				}
			}
		}
	}
}

func isState(value ast.Expr) bool {
	switch e := value.(type) {
	case *ast.UnaryExpr:
		return e.Op == token.AND
	case *ast.CompositeLit:
		s, ok := e.Type.(*ast.SelectorExpr)
		if !ok {
			return false
		}
		pkg, ok := s.X.(*ast.Ident)
		return ok && (pkg.Name == "sync" || pkg.Name == "atomic")
	case *ast.CallExpr:
		f, ok := e.Fun.(*ast.Ident)
		return ok && (f.Name == "make" || f.Name == "new")
	default:
		return false
	}
}

// maxLines is where a file is sure to have a second duty.
const maxLines = 600

func TestFiles(t *testing.T) {
	t.Parallel()
	forbidden := []struct {
		why     string
		pattern *regexp.Regexp
	}{
		{"a path of one machine", regexp.MustCompile(`/(work|root|home)/|/Users/|[A-Z]:\\Users`)},
		{"unfinished work", regexp.MustCompile(`\b(TODO|FIXME|XXX|HACK)\b`)},
		{"the host of a package registry", regexp.MustCompile(`proxy\.golang\.org|sum\.golang\.org|pypi\.org|pythonhosted\.org|registry\.npmjs\.org`)},
		{"a word about who or what wrote it", regexp.MustCompile(`(?i)\b(chatgpt|openai|anthropic|claude|copilot|co-authored-by|language model|ai[- ](generated|assistant|agent))\b`)},
	}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if hidden := strings.HasPrefix(d.Name(), ".") && path != "." && d.Name() != ".ci"; hidden || d.Name() == "bin" {
				return filepath.SkipDir
			}
			return nil
		}
		vendors := strings.Contains(path, "testdata") && !strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, ".py")
		if !d.Type().IsRegular() || vendors || path == "structure_test.go" || path == ".git" { // a file in a work tree
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil || bytes.IndexByte(data[:min(len(data), 8000)], 0) >= 0 { // a binary that lies about
			return err
		}
		lines := bytes.Split(data, []byte("\n"))
		if len(lines) > maxLines && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_templ.go") { // what templ makes is long
			t.Errorf("%s has %d lines: look for its second duty", path, len(lines))
		}
		for n, line := range lines {
			for _, f := range forbidden {
				if f.pattern.Match(line) {
					t.Errorf("%s:%d holds %s: %s", path, n+1, f.why, bytes.TrimSpace(line))
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
