package extjson_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/cmd/internal/extjson"
)

func TestForms(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text  string
		lines []int
	}{
		"one":                  {`{"a": 1}`, []int{1}},
		"one over lines":       {"\n{\n\"a\": 1}\n", []int{2}},
		"one a line":           {"{\"a\": 1}\n\n{\"a\": 1}\r\n{\"a\": 1}", []int{1, 3, 4}},
		"an array":             {"[\n{\"a\": 1},\n{\"a\": 1}]", []int{2, 3}},
		"arrays and documents": {"[{\"a\": 1}]\n{\"a\": 1}\n[]", []int{1, 2}},
		"a byte order mark":    {"\xef\xbb\xbf{\"a\": 1}", []int{1}},
		"nothing":              {" \n", nil},
		"an empty array":       {"[]", nil},
	} {
		documents, err := extjson.Parse([]byte(c.text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var lines []int
		for _, d := range documents {
			lines = append(lines, d.Line)
			if got := d.BSON.Lookup("a"); len(d.Problems) > 0 || !got.Equal(bson.RawValue{Type: bson.TypeInt32, Value: []byte{1, 0, 0, 0}}) {
				t.Errorf("%s: a is %v, problems %v", name, got, d.Problems)
			}
		}
		if fmt.Sprint(lines) != fmt.Sprint(c.lines) {
			t.Errorf("%s: lines %v, want %v", name, lines, c.lines)
		}
	}
}

func TestLineOf(t *testing.T) {
	t.Parallel()
	documents, err := extjson.Parse([]byte(`{"kind": "sms",
"payload": {
  "to":
    "+4915112345678"},
"on_done": [
  {"kind": "fax"},

  {"payload": {"a": [1,
    2]}}]}
{"kind": "sms"}`))
	if err != nil || len(documents) != 2 {
		t.Fatal(documents, err)
	}
	for path, want := range map[string]int{"": 1, "kind": 1, "payload": 2, "payload.to": 3, "payload.body": 2, "due_at": 1,
		"on_done.0": 6, "on_done.1.payload": 8, "on_done.1.payload.a.1": 9, "on_done.1.kind": 8, "on_done.2": 5, "payload.to.x": 3} {
		if got := documents[0].LineOf(path); got != want {
			t.Errorf("%q is in line %d, want %d", path, got, want)
		}
	}
	if got := documents[1].LineOf("kind"); got != 10 {
		t.Errorf("the second document's kind is in line %d, want 10", got)
	}
}

// What is wrong with the text is told without any value of it.
func TestProblems(t *testing.T) {
	t.Parallel()
	const secret = "4915112345678"
	for text, want := range map[string]string{
		`{"a": {"b": 1, "b": "4915112345678"}}`:                         "a.b stands here twice",
		`{"a": [{"b": 1, "b": 2}]}`:                                     "a.0.b stands here twice",
		`{"kind": 1, "kind": 2}`:                                        "kind stands here twice",
		`{"due_at": {"$date": "4915112345678 o'clock"}}`:                "due_at is not Extended JSON",
		`{"a": [1, {"_id": {"$oid": "4915112345678"}}]}`:                "a.1._id is not Extended JSON",
		`{"payload": {"n": {"$numberLong": "4915112345678999999999"}}}`: "payload.n is not Extended JSON",
		`{"_id": {"$uuid": "4915112345678"}}`:                           "_id is not Extended JSON",
		`{"4915112345678": {"$uuid": "x"}}`:                             "? is not Extended JSON",
		"{\"a\": \"\xff\"}":                                             "is not UTF-8",
		`"4915112345678"`:                                               "is no document",
		`4915112345678`:                                                 "is no document",
		`[null]`:                                                        "is no document",
	} {
		documents, err := extjson.Parse([]byte(text))
		if err != nil || len(documents) != 1 || len(documents[0].Problems) == 0 {
			t.Errorf("%s: %v, %v", text, documents, err)
			continue
		}
		got := strings.TrimSpace(documents[0].Problems[0].String())
		if !strings.HasPrefix(got, want) || strings.Contains(got, secret) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func TestSyntaxErrors(t *testing.T) {
	t.Parallel()
	for text, c := range map[string]struct{ line, before int }{
		"{\"a\": 1}\n{\"a\"\n1}": {3, 1}, "{\"a\": 1,\n": {1, 0}, "{'a': 1}": {1, 0}, "[{\"a\": 1},\n{\"a\": 1}": {2, 2},
		"{\"a\": ISODate()}": {1, 0}, "[\n": {1, 0}, "{\"a\": 1}\n]": {2, 1}, "{\"a\": [1,\n": {1, 0},
	} {
		documents, err := extjson.Parse([]byte(text))
		syntax, ok := errors.AsType[*extjson.SyntaxError](err)
		if !ok || syntax.Line != c.line || len(documents) != c.before {
			t.Errorf("%q: %d documents and %v, want %d and an error in line %d", text, len(documents), err, c.before, c.line)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{`{"a": {"$date": 1}}`, `[{"a": [1, "x"]}, {}]`, "{}\n{}", `{"a": {"$binary": {"base64": "", "subType": "04"}}}`, `{"$oid": "x"}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		documents, _ := extjson.Parse(text)
		for _, d := range documents {
			if (d.BSON == nil) && len(d.Problems) == 0 {
				t.Errorf("a document of line %d is neither read nor refused", d.Line)
			}
			if err := d.BSON.Validate(); d.BSON != nil && err != nil {
				t.Errorf("not BSON: %v", err)
			}
		}
	})
}
