package contractcheck

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// openAPI is a vendor's description of an API, against which requests and answers are held. It is safe for concurrent
// use.
type openAPI struct {
	doc map[string]any

	mu       sync.Mutex // guards the compiler, which keeps what it compiled
	compiler *jsonschema.Compiler
}

const address = "https://contract.invalid/openapi.json" // a name, never fetched

func parseOpenAPI(data []byte) (*openAPI, error) {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("read the description: %w", err)
	}
	doc, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("read the description: it is no object")
	}
	if err := translateAll(doc); err != nil {
		return nil, fmt.Errorf("translate the description: %w", err)
	}
	a := &openAPI{doc: doc, compiler: jsonschema.NewCompiler()}
	a.compiler.AssertFormat()
	if err := a.compiler.AddResource(address, doc); err != nil {
		return nil, fmt.Errorf("take the description: %w", err)
	}
	return a, nil
}

// check holds a value against the schema at a place of the document.
func (a *openAPI) check(place string, v any) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	schema, err := a.compiler.Compile(address + "#" + place)
	if err != nil {
		return fmt.Errorf("compile %s: %w", place, err)
	}
	return schema.Validate(v)
}

// node is a part of the document and the JSON pointer to it.
type node struct {
	place string
	v     any
}

var unslash = strings.NewReplacer("~1", "/", "~0", "~")

// at goes down by keys and array indices, following references; a node without value is returned if there is nothing.
func (a *openAPI) at(n node, keys ...string) node {
	n = a.follow(n)
	for _, key := range keys {
		next := node{place: n.place + "/" + url.PathEscape(strings.NewReplacer("~", "~0", "/", "~1").Replace(key))}
		switch v := n.v.(type) {
		case map[string]any:
			next.v = v[key]
		case []any:
			if i, err := strconv.Atoi(key); err == nil && i < len(v) {
				next.v = v[i]
			}
		}
		n = a.follow(next)
	}
	return n
}

func (a *openAPI) follow(n node) node {
	for {
		m, _ := n.v.(map[string]any)
		ref, ok := m["$ref"].(string)
		if !ok {
			return n
		}
		n = node{v: a.doc}
		for part := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
			key := unslash.Replace(part)
			m, _ := n.v.(map[string]any)
			n = node{place: n.place + "/" + url.PathEscape(part), v: m[key]}
		}
	}
}

func (n node) keys() []string {
	m, _ := n.v.(map[string]any)
	return slices.Sorted(maps.Keys(m))
}

func (n node) text(key string) string {
	m, _ := n.v.(map[string]any)
	s, _ := m[key].(string)
	return s
}

func (n node) yes(key string) bool {
	m, _ := n.v.(map[string]any)
	return m[key] == true
}

// operation finds the path of the description that fits best, one with more literal parts before one with fewer, and
// what stands in the place of its parameters.
func (a *openAPI) operation(method, path string) (item, op node, args map[string]string, err error) {
	all := a.at(node{v: a.doc}, "paths")
	best := -1
	for _, template := range all.keys() {
		got, literal, ok := fits(template, path)
		if !ok || literal <= best {
			continue
		}
		candidate := a.at(all, template)
		if o := a.at(candidate, strings.ToLower(method)); o.v != nil {
			best, item, op, args = literal, candidate, o, got
		}
	}
	if best < 0 {
		return item, op, nil, fmt.Errorf("there is no %s %s", method, path)
	}
	return item, op, args, nil
}

func fits(template, path string) (args map[string]string, literal int, ok bool) {
	want, got := strings.Split(template, "/"), strings.Split(path, "/")
	if len(want) != len(got) {
		return nil, 0, false
	}
	args = make(map[string]string)
	for i, part := range want {
		before, rest, isArg := strings.Cut(part, "{")
		if !isArg {
			if part != got[i] {
				return nil, 0, false
			}
			literal++
			continue
		}
		name, after, _ := strings.Cut(rest, "}")
		value, hasBefore := strings.CutPrefix(got[i], before)
		value, hasAfter := strings.CutSuffix(value, after)
		if !hasBefore || !hasAfter || value == "" {
			return nil, 0, false
		}
		args[name] = value
	}
	return args, literal, true
}

// request holds a request against its operation: the arguments in path and query, and the body. Headers are not held
// against it.
func (a *openAPI) request(r *http.Request, body []byte) error {
	item, op, args, err := a.operation(r.Method, r.URL.Path)
	if err != nil {
		return err
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return fmt.Errorf("read the query: %w", err)
	}
	var errs []error
	for _, list := range []node{a.at(item, "parameters"), a.at(op, "parameters")} {
		params, _ := list.v.([]any)
		for i := range params {
			p := a.at(list, strconv.Itoa(i))
			name, schema := p.text("name"), a.at(p, "schema")
			var values []string
			switch p.text("in") {
			case "path":
				if v, ok := args[name]; ok {
					values = []string{v}
				}
			case "query":
				values = query[name]
				query.Del(name)
			default:
				continue
			}
			if len(values) == 0 {
				if p.yes("required") {
					errs = append(errs, fmt.Errorf("the parameter %s is missing", name))
				}
				continue
			}
			if err := a.check(schema.place, a.typed(schema, values)); err != nil {
				errs = append(errs, fmt.Errorf("the parameter %s: %w", name, err))
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		errs = append(errs, fmt.Errorf("the parameter %s is unknown", name))
	}
	return errors.Join(append(errs, a.requestBody(op, r.Header.Get("Content-Type"), body))...)
}

func (a *openAPI) requestBody(op node, contentType string, body []byte) error {
	want := a.at(op, "requestBody")
	switch {
	case want.v == nil && len(body) > 0:
		return errors.New("there is a body and should be none")
	case want.v == nil, len(body) == 0 && contentType == "" && !want.yes("required"):
		return nil
	}
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return fmt.Errorf("read the content type: %w", err)
	}
	schema := a.at(want, "content", media, "schema")
	if schema.v == nil {
		return fmt.Errorf("the body is %s, the description has %v", media, a.at(want, "content").keys())
	}
	var v any
	if media == "application/x-www-form-urlencoded" {
		v, err = a.form(schema, string(body))
	} else {
		v, err = jsonschema.UnmarshalJSON(bytes.NewReader(body))
	}
	if err != nil {
		return fmt.Errorf("read the body: %w", err)
	}
	return a.check(schema.place, v)
}

// form reads a form into the object that its schema describes.
func (a *openAPI) form(schema node, body string) (map[string]any, error) {
	values, err := url.ParseQuery(body)
	if err != nil {
		return nil, err
	}
	out := make(map[string]any)
	for name, list := range values {
		out[name] = a.typed(a.at(schema, "properties", name), list)
	}
	return out, nil
}

// typed is the value that a text stands for where the schema wants another type; a text that is not of that type, and a
// repeated value where the schema wants one, stay as they are, for the schema to refuse.
func (a *openAPI) typed(schema node, values []string) any {
	if schema.text("type") == "array" || len(values) != 1 {
		list := make([]any, len(values))
		for i, v := range values {
			list[i] = a.typed(a.at(schema, "items"), []string{v})
		}
		return list
	}
	switch schema.text("type") {
	case "integer", "number", "boolean":
		if v, err := jsonschema.UnmarshalJSON(strings.NewReader(values[0])); err == nil {
			return v
		}
	}
	return values[0]
}

// answer holds an answer against the operation of its request.
func (a *openAPI) answer(method, path string, status int, contentType string, body []byte) error {
	_, op, _, err := a.operation(method, path)
	if err != nil {
		return err
	}
	want := a.at(op, "responses", strconv.Itoa(status))
	if want.v == nil {
		want = a.at(op, "responses", "default")
	}
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return fmt.Errorf("read the content type: %w", err)
	}
	schema := a.at(want, "content", media, "schema")
	if schema.v == nil {
		return fmt.Errorf("%s %s has no answer %d of type %s", method, path, status, media)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	return a.check(schema.place, v)
}
