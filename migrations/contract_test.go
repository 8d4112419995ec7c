package migrations_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/migrations"
)

// TestReleasedVersionsAreFrozen pins what each released version puts into a database. A new version adds its line; no
// line is ever changed.
func TestReleasedVersionsAreFrozen(t *testing.T) {
	t.Parallel()
	released := map[int]string{
		1: "1120bcdc83c964ab5d1566dd15ade8ea20f11c8e749e04c2354b54a88048713c",
	}
	got, err := migrations.VersionHashes()
	if err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(got, released) {
		t.Errorf("versions have the hashes %v, want %v", got, released)
	}
}

// TestJSONSchemaAgreesWithTheValidator judges the validator's samples by the JSON Schema.
func TestJSONSchemaAgreesWithTheValidator(t *testing.T) {
	t.Parallel()
	schemas := map[string]map[string]any{}
	for _, kind := range []string{"", "charge", "email", "sms"} {
		b, err := migrations.JSONSchema(migrations.SchemaOptions{Kind: kind, OtherKinds: true})
		if err != nil {
			t.Fatal(err)
		}
		var schema map[string]any
		if err := json.Unmarshal(b, &schema); err != nil {
			t.Fatal(err)
		}
		if schema["$schema"] != "http://json-schema.org/draft-07/schema#" {
			t.Errorf("dialect %v", schema["$schema"])
		}
		schemas[kind] = schema
	}
	for _, s := range samples() {
		if s.update || s.query {
			continue
		}
		if strings.Contains(s.name, "decimal") { // Extended JSON writes it as a document
			continue
		}
		if strings.Contains(s.name, "mistyped kind") { // with other kinds, the schema lets any pass
			continue
		}
		b, err := bson.MarshalExtJSON(s.doc, false, false)
		if err != nil {
			t.Fatal(err)
		}
		var value any
		if err := json.Unmarshal(b, &value); err != nil {
			t.Fatal(err)
		}
		kinds := []string{""}
		if kind, _ := s.doc["kind"].(string); schemas[kind] != nil && kind != "" {
			kinds = append(kinds, kind)
		}
		for _, kind := range kinds {
			j := judge{root: schemas[kind]}
			if problem := j.check(schemas[kind], value, "$"); (problem == "") != (s.want == "") {
				t.Errorf("%s by the schema of kind %q: %q, want %q", s.name, kind, problem, s.want)
			}
		}
	}
}

func TestJSONSchemaHasNoFieldOfTheWorker(t *testing.T) {
	t.Parallel()
	b, err := migrations.JSONSchema(migrations.SchemaOptions{Kind: "charge"})
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Properties map[string]any `json:"properties"`
		Required   []string       `json:"required"`
	}
	if err := json.Unmarshal(b, &schema); err != nil {
		t.Fatal(err)
	}
	want := strings.Fields("_id created_at dedup_key due_at expires_at kind max_attempts metadata on_ambiguous on_dead on_done ordering_key payload priority status trace v write_back")
	if got := slices.Sorted(maps.Keys(schema.Properties)); !slices.Equal(got, want) {
		t.Errorf("fields %q, want %q", got, want)
	}
	if want := []string{"kind", "status", "payload", "due_at"}; !slices.Equal(schema.Required, want) {
		t.Errorf("required %q, want %q", schema.Required, want)
	}
	if _, err := migrations.JSONSchema(migrations.SchemaOptions{Kind: "fax"}); err == nil || !strings.Contains(err.Error(), "charge, email, sms") {
		t.Errorf("unknown kind: %v", err)
	}
}

func TestProperties(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"":                            "_id status due_at v kind payload expires_at priority dedup_key max_attempts on_ambiguous write_back metadata trace created_at attempts lease first_attempt_at first_due_at ambiguous_at generation progress outcome last_error history dropped retried resolved result done_at dead_at cancelled_at dead_reason purge_at on_done on_dead",
		"lease":                       "token owner at reclaimed",
		"last_error":                  "class code message provider provider_code http_status request_id at",
		"history":                     "what attempt at ms outcome code provider_code http_status request_id ref worker by why job first last n",
		"write_back":                  "collection id done dead ambiguous",
		"outcome":                     "event reason class attempts receipt failure at tries why",
		"retried":                     "by why at n",
		"resolved":                    "by why verdict evidence at",
		"trace":                       "traceparent tracestate",
		"payload.charge":              "amount currency customer payment_method description statement_descriptor_suffix receipt_email metadata account",
		"payload.email":               "from to subject text html template_id template_data reply_to cc bcc categories attachments",
		"payload.email.to":            "email name",
		"payload.email.cc":            "email name",
		"payload.email.attachments":   "content filename type disposition content_id",
		"payload.sms":                 "to from messaging_service_sid body media_urls validity_seconds",
		"on_dead":                     "v kind payload expires_at priority dedup_key max_attempts on_ambiguous write_back metadata trace created_at delay_seconds when on_done on_dead",
		"on_done.on_done.on_dead":     "v kind payload expires_at priority dedup_key max_attempts on_ambiguous write_back metadata trace created_at delay_seconds when on_done on_dead",
		"on_done.on_done.on_dead.x":   "",
		"payload.fax":                 "",
		"payload":                     "",
		"nothing":                     "",
		"attempts":                    "",
		"payload.email.attachments.x": "",
	} {
		if got := strings.Join(migrations.Properties(path), " "); got != want {
			t.Errorf("%q: %s\nwant %s", path, got, want)
		}
	}
}

// judge checks a value by the part of JSON Schema that the contract uses. An unknown keyword is an error, so that
// nothing is passed over.
type judge struct{ root map[string]any }

func (j judge) check(schema map[string]any, v any, at string) string {
	for _, keyword := range slices.Sorted(maps.Keys(schema)) {
		if problem := j.keyword(schema, keyword, schema[keyword], v); problem != "" {
			return at + ": " + problem
		}
	}
	return ""
}

func (j judge) keyword(schema map[string]any, keyword string, arg, v any) string {
	object, isObject := v.(map[string]any)
	array, isArray := v.([]any)
	text, isText := v.(string)
	number, isNumber := v.(float64)
	size := func(n int, most bool) string {
		if limit := int(arg.(float64)); (most && n > limit) || (!most && n < limit) {
			return fmt.Sprintf("%s %d", keyword, limit)
		}
		return ""
	}
	switch keyword {
	case "$schema", "definitions", "title", "description":
	case "$ref":
		name := strings.TrimPrefix(arg.(string), "#/definitions/")
		return j.check(j.root["definitions"].(map[string]any)[name].(map[string]any), v, name)
	case "oneOf":
		fits := 0
		for _, sub := range arg.([]any) {
			if j.check(sub.(map[string]any), v, "") == "" {
				fits++
			}
		}
		if fits != 1 {
			return fmt.Sprintf("oneOf: %d fit", fits)
		}
	case "if":
		if j.check(arg.(map[string]any), v, "") == "" {
			return j.check(schema["then"].(map[string]any), v, "then")
		}
	case "then":
	case "type":
		types, ok := arg.([]any)
		if !ok {
			types = []any{arg}
		}
		if !slices.ContainsFunc(types, func(name any) bool { return isType(name.(string), v) }) {
			return fmt.Sprintf("type is not %v", arg)
		}
	case "enum":
		if !slices.ContainsFunc(arg.([]any), func(x any) bool { return reflect.DeepEqual(x, v) }) {
			return "not in enum"
		}
	case "const":
		if !reflect.DeepEqual(arg, v) {
			return "not const"
		}
	case "multipleOf":
		if isNumber && math.Mod(number, arg.(float64)) != 0 {
			return keyword
		}
	case "minimum":
		if isNumber && number < arg.(float64) {
			return keyword
		}
	case "maximum":
		if isNumber && number > arg.(float64) {
			return keyword
		}
	case "minLength", "maxLength":
		if isText {
			return size(utf8.RuneCountInString(text), keyword == "maxLength")
		}
	case "minItems", "maxItems":
		if isArray {
			return size(len(array), keyword == "maxItems")
		}
	case "maxProperties":
		if isObject {
			return size(len(object), true)
		}
	case "pattern":
		if isText && !regexp.MustCompile(arg.(string)).MatchString(text) {
			return "pattern " + arg.(string)
		}
	case "items":
		for i, item := range array {
			if problem := j.check(arg.(map[string]any), item, fmt.Sprint(i)); problem != "" {
				return problem
			}
		}
	case "required":
		for _, name := range arg.([]any) {
			if _, there := object[name.(string)]; isObject && !there {
				return "missing " + name.(string)
			}
		}
	case "properties", "patternProperties", "additionalProperties":
		if isObject {
			return j.fields(schema, keyword, object)
		}
	case "not":
		if j.check(arg.(map[string]any), v, "") == "" {
			return "not"
		}
	case "allOf":
		for _, sub := range arg.([]any) {
			if problem := j.check(sub.(map[string]any), v, "allOf"); problem != "" {
				return problem
			}
		}
	case "anyOf":
		if !slices.ContainsFunc(arg.([]any), func(sub any) bool { return j.check(sub.(map[string]any), v, "") == "" }) {
			return "anyOf"
		}
	default:
		return "unknown keyword " + keyword
	}
	return ""
}

func (j judge) fields(schema map[string]any, keyword string, object map[string]any) string {
	named, _ := schema["properties"].(map[string]any)
	patterns, _ := schema["patternProperties"].(map[string]any)
	for name, value := range object {
		var rules []any
		matched := false
		if rule, ok := named[name]; ok {
			matched = true
			if keyword == "properties" {
				rules = append(rules, rule)
			}
		}
		for pattern, rule := range patterns {
			if regexp.MustCompile(pattern).MatchString(name) {
				matched = true
				if keyword == "patternProperties" {
					rules = append(rules, rule)
				}
			}
		}
		if keyword == "additionalProperties" && !matched {
			if schema[keyword] == false {
				return "unknown " + name
			}
			rules = append(rules, schema[keyword])
		}
		for _, rule := range rules {
			if problem := j.check(rule.(map[string]any), value, name); problem != "" {
				return problem
			}
		}
	}
	return ""
}

func isType(name string, v any) bool {
	switch v := v.(type) {
	case string:
		return name == "string"
	case bool:
		return name == "boolean"
	case float64:
		return name == "number" || name == "integer" && v == math.Trunc(v)
	case []any:
		return name == "array"
	case map[string]any:
		return name == "object"
	default:
		return name == "null"
	}
}
