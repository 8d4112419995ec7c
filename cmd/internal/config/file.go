package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/outboxd/outboxd/outbox"
)

// file is the YAML file of policies while it is read. The tree is walked by hand. A decoder would end at the first
// problem, and a person shall see all of them.
type file struct {
	name     string
	problems *Problems
	lines    map[string]int // line of each key that stands in the file
	anchors  map[string]ast.Node
}

// keys are what a mapping may hold, each with what reads its value.
type keys map[string]func(key string, value ast.Node)

// readFile reads the file at path into the policies, whose lanes stand in lanes. Keys that are absent leave the
// defaults.
func readFile(path, where string, problems *Problems, lanes []*Lane, to *Policies) *file {
	f := &file{name: filepath.Base(path), problems: problems, lines: make(map[string]int), anchors: make(map[string]ast.Node)}
	data, err := os.ReadFile(path)
	if err != nil {
		problems.add(where, "the file cannot be read: %v", err)
		return f
	}
	tree, err := parser.ParseBytes(data, 0)
	if err != nil {
		f.syntax(err)
		return f
	}
	ofKind := make(keys)
	for _, l := range lanes {
		ofKind[l.Kind] = f.mapping(f.lane(l))
	}
	top := f.mapping(keys{
		"lanes":      f.mapping(ofKind),
		"retention":  f.mapping(keys{"done": f.duration(&to.Retention.Done), "cancelled": f.duration(&to.Retention.Cancelled)}),
		"write_back": f.mapping(keys{"collections": f.names(&to.WriteBack, "a collection", func(n string) bool { return n != "" && collectionName(n) })}),
		"logs":       f.mapping(keys{"metadata": f.names(&to.Logs.Metadata, "a key of metadata", metadataKey), "successes": f.number(&to.Logs.Successes)}),
		"kinds":      f.names(&to.Kinds, "a kind", validKind),
		"admin":      f.mapping(f.adminKeys(&to.admin)),
	})
	documents := 0
	for _, doc := range tree.Docs {
		if doc.Body == nil {
			continue
		}
		documents++
		ast.Walk(f, doc.Body)
		top("", doc.Body)
	}
	if documents > 1 {
		problems.add(f.name, "holds %d documents, must hold one", documents)
	}
	return f
}

// Visit remembers anchors, for the aliases that name them.
func (f *file) Visit(n ast.Node) ast.Visitor {
	if a, ok := n.(*ast.AnchorNode); ok {
		f.anchors[a.Name.String()] = a.Value
	}
	return f
}

func (f *file) syntax(err error) {
	if e, ok := errors.AsType[yaml.Error](err); ok {
		f.problems.add(f.name+":"+strconv.Itoa(e.GetToken().Position.Line), "is no YAML: %s", e.GetMessage())
		return
	}
	f.problems.add(f.name, "is no YAML: %v", err)
}

// where names a place in the file: its key, and the line of that or of the nearest one around it that stands there.
func (f *file) where(key string) string {
	if key == "" {
		return f.name
	}
	for around := key; around != ""; around = around[:max(0, strings.LastIndexAny(around, ".["))] {
		if line := f.lines[around]; line > 0 {
			return f.name + ":" + strconv.Itoa(line) + ": " + key
		}
	}
	return f.name + ": " + key
}

func (f *file) bad(key string, format string, args ...any) {
	f.problems.add(f.where(key), format, args...)
}

// resolve follows aliases and takes tags and anchors off. An alias cannot name itself: its anchor comes before it.
func (f *file) resolve(n ast.Node) ast.Node {
	for range 100 {
		switch v := n.(type) {
		case *ast.AnchorNode:
			n = v.Value
		case *ast.AliasNode:
			n = f.anchors[v.Value.String()]
		case *ast.TagNode:
			n = v.Value
		default:
			return n
		}
	}
	return nil
}

// pairs returns the entries of a mapping, merged ones (<<) included after its own, which win.
func (f *file) pairs(n ast.Node, depth int) ([]*ast.MappingValueNode, bool) {
	m, ok := f.resolve(n).(*ast.MappingNode)
	if !ok || depth > 10 {
		return nil, false
	}
	var own, merged []*ast.MappingValueNode
	for _, v := range m.Values {
		if !v.Key.IsMergeKey() {
			own = append(own, v)
			continue
		}
		more, ok := f.pairs(v.Value, depth+1)
		if !ok {
			return nil, false
		}
		merged = append(merged, more...)
	}
	for _, v := range merged {
		if !slices.ContainsFunc(own, func(o *ast.MappingValueNode) bool { return o.Key.String() == v.Key.String() }) {
			own = append(own, v)
		}
	}
	return own, true
}

// mapping reads a mapping; a key that it does not have is a problem. An empty value leaves the defaults.
func (f *file) mapping(have keys) func(string, ast.Node) {
	return func(key string, n ast.Node) {
		if _, empty := f.resolve(n).(*ast.NullNode); empty {
			return
		}
		pairs, ok := f.pairs(n, 0)
		if !ok {
			f.bad(key, "must be a mapping of keys to values")
			return
		}
		for _, pair := range pairs {
			name := strings.Trim(pair.Key.String(), `"'`)
			path := name
			if key != "" {
				path = key + "." + name
			}
			f.lines[path] = pair.Key.GetToken().Position.Line
			read, ok := have[name]
			if !ok {
				known := make([]string, 0, len(have))
				for k := range have {
					known = append(known, k)
				}
				slices.Sort(known)
				f.bad(path, "is an unknown key; here may stand %s", strings.Join(known, ", "))
				continue
			}
			read(path, pair.Value)
		}
	}
}

// scalar returns a value's text, whatever YAML takes it for.
func (f *file) scalar(n ast.Node) (string, bool) {
	switch v := f.resolve(n).(type) {
	case *ast.StringNode:
		return v.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return v.GetToken().Value, true
	default:
		return "", false
	}
}

func (f *file) duration(to *time.Duration) func(string, ast.Node) {
	return func(key string, n ast.Node) {
		text, ok := f.scalar(n)
		d, err := time.ParseDuration(text)
		if !ok || err != nil {
			f.bad(key, "must be a duration like 30s, 5m or 24h")
			return
		}
		*to = d
	}
}

func (f *file) number(to *int) func(string, ast.Node) {
	return func(key string, n ast.Node) {
		text, ok := f.scalar(n)
		v, err := strconv.Atoi(text)
		if !ok || err != nil {
			f.bad(key, "must be a whole number")
			return
		}
		*to = v
	}
}

func (f *file) ratio(to *float64) func(string, ast.Node) {
	return func(key string, n ast.Node) {
		text, ok := f.scalar(n)
		v, err := strconv.ParseFloat(text, 64)
		if !ok || err != nil {
			f.bad(key, "must be a number from 0 to 1")
			return
		}
		*to = v
	}
}

func (f *file) rate(to *float64, shown *string) func(string, ast.Node) {
	return func(key string, n ast.Node) {
		text, ok := f.scalar(n)
		if !ok {
			f.bad(key, "must be a rate like 25/s, 100/m or 5000/h")
			return
		}
		v, err := outbox.ParseRate(text)
		if err != nil {
			f.bad(key, "%v %v", quoted(text), err)
			return
		}
		*to, *shown = v, text
	}
}

func (f *file) ambiguity(to *outbox.Ambiguity) func(string, ast.Node) {
	return func(key string, n ast.Node) {
		text, ok := f.scalar(n)
		if !ok {
			f.bad(key, "must be retry, reconcile or park")
			return
		}
		*to = outbox.Ambiguity(text) // its policy says what it may be
	}
}

// names reads a list of names, each of which must be valid.
func (f *file) names(to *[]string, what string, valid func(string) bool) func(string, ast.Node) {
	return func(key string, n ast.Node) {
		list, ok := f.resolve(n).(*ast.SequenceNode)
		if !ok {
			f.bad(key, "must be a list, each the name of %s", what)
			return
		}
		var names []string
		for i, item := range list.Values {
			name, ok := f.scalar(item)
			switch {
			case !ok, !valid(name):
				f.bad(fmt.Sprintf("%s[%d]", key, i), "must be the name of %s", what)
			case slices.Contains(names, name):
				f.bad(fmt.Sprintf("%s[%d]", key, i), "stands twice")
			default:
				names = append(names, name)
			}
		}
		*to = names
	}
}

// maxMetadataKey bounds a key of metadata that is to be logged, in bytes.
const maxMetadataKey = 100

// metadataKey reports whether a text can be such a key.
func metadataKey(name string) bool {
	return name != "" && len(name) <= maxMetadataKey && !strings.ContainsAny(name, "$\x00")
}

// validKind keeps a kind usable as a label of metrics and on a command line.
func validKind(name string) bool {
	return len(name) <= 64 && name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return r != '_' && r != '-' && r != '.' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}
