package simulator_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	twilioapi "github.com/twilio/twilio-go/rest/api/v2010"

	"github.com/outboxd/outboxd/providers/simulator"
)

// schemas are the vendors' OpenAPI schemas under testdata: the part that is needed here, without descriptions.
type schemas map[string]map[string]any

func readSchemas(t *testing.T, file string) schemas {
	t.Helper()
	data, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var out struct{ Components struct{ Schemas schemas } }
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out.Components.Schemas
}

// check lists where v differs from the schema; it knows the keywords these files use, and takes every property that
// the schema does not name for a mistake, unless the schema allows more.
func (s schemas) check(path string, schema map[string]any, v any) (wrong []string) {
	if ref, ok := schema["$ref"].(string); ok {
		name := ref[strings.LastIndex(ref, "/")+1:]
		if s[name] == nil {
			return []string{path + ": unknown schema " + name}
		}
		return s.check(path, s[name], v)
	}
	bad := func(format string, args ...any) { wrong = append(wrong, path+": "+fmt.Sprintf(format, args...)) }
	if options, ok := schema["oneOf"].([]any); ok {
		for _, one := range options {
			if len(s.check(path, one.(map[string]any), v)) == 0 {
				return nil
			}
		}
		bad("fits none of the %d possible schemas", len(options))
		return wrong
	}
	if v == nil {
		if schema["nullable"] != true {
			bad("is null")
		}
		return wrong
	}
	if list, ok := schema["enum"].([]any); ok && !slices.Contains(list, v) {
		bad("%v is not one of %v", v, list)
	}
	switch schema["type"] {
	case "string":
		text, ok := v.(string)
		if !ok {
			bad("%v is no string", v)
		}
		if pattern, ok := schema["pattern"].(string); ok && !regexp.MustCompile(pattern).MatchString(text) {
			bad("%q does not match %s", text, pattern)
		}
	case "integer":
		if n, ok := v.(float64); !ok || n != float64(int64(n)) {
			bad("%v is no integer", v)
		}
	case "array":
		list, ok := v.([]any)
		if !ok {
			bad("%v is no array", v)
		}
		for i, item := range list {
			wrong = append(wrong, s.check(fmt.Sprintf("%s[%d]", path, i), schema["items"].(map[string]any), item)...)
		}
	case "object":
		wrong = append(wrong, s.checkObject(path, schema, v)...)
	}
	return wrong
}

func (s schemas) checkObject(path string, schema map[string]any, v any) (wrong []string) {
	object, ok := v.(map[string]any)
	if !ok {
		return []string{path + ": is no object"}
	}
	required, _ := schema["required"].([]any)
	for _, name := range required {
		if _, ok := object[name.(string)]; !ok {
			wrong = append(wrong, fmt.Sprintf("%s: %s is missing", path, name))
		}
	}
	properties, _ := schema["properties"].(map[string]any)
	for name, value := range object {
		switch property, more := properties[name], schema["additionalProperties"]; {
		case property != nil:
			wrong = append(wrong, s.check(path+"."+name, property.(map[string]any), value)...)
		case len(properties) > 0 && more == nil:
			wrong = append(wrong, path+": "+name+" is not in the schema")
		}
	}
	return wrong
}

// answer is the decoded JSON of one request.
func (b *bench) answer(method, address, user, password, body string) any {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	if req.SetBasicAuth(user, password); user == "" {
		req.Header.Set("Authorization", "Bearer "+password)
	}
	resp, err := b.http.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		b.t.Fatalf("%s %s: %v in %q", method, address, err, data)
	}
	return v
}

func TestTwilioAnswersFitItsOpenAPI(t *testing.T) {
	s := readSchemas(t, "twilio_messages.json")
	b := start(t, simulator.Config{})
	root := b.TwilioURL + "/2010-04-01/Accounts/" + testSID
	get := func(path string) any { return b.answer(http.MethodGet, root+path, testSID, testToken, "") }
	form := "To=%2B491701234567&Body=hello&"
	services := "MessagingServiceSid=MG0123456789abcdef0123456789abcdef&MediaUrl=https%3A%2F%2Fexample.com%2Fa.png"
	message := map[string]any{"$ref": "#/api.v2010.account.message"}
	check := func(name string, schema map[string]any, v any) {
		t.Helper()
		for _, wrong := range s.check(name, schema, v) {
			t.Error(wrong)
		}
	}
	for _, sender := range []string{"From=%2B15550001111", services} {
		created := b.answer(http.MethodPost, root+"/Messages.json", testSID, testToken, form+sender)
		check("created", message, created)
		properties := s["api.v2010.account.message"]["properties"].(map[string]any)
		for name := range properties {
			if _, ok := created.(map[string]any)[name]; !ok {
				t.Errorf("created: %s is missing", name)
			}
		}
		check("fetched", message, get("/Messages/"+created.(map[string]any)["sid"].(string)+".json"))
	}
	for _, path := range []string{"/Messages.json", "/Messages.json?PageSize=1", "/Messages.json?PageSize=1&Page=1"} {
		check("list", map[string]any{"$ref": "#/ListMessageResponse"}, get(path))
	}
	check("account", map[string]any{"$ref": "#/api.v2010.account"}, get(".json"))
}

func TestSendGridAnswersFitItsOpenAPI(t *testing.T) {
	s := readSchemas(t, "sendgrid_logs.json")
	b := start(t, simulator.Config{})
	if _, err := b.mail(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	check := func(schema string, v any) {
		t.Helper()
		for _, wrong := range s.check(schema, map[string]any{"$ref": "#/" + schema}, v) {
			t.Error(wrong)
		}
	}
	list := b.answer(http.MethodPost, b.SendGridURL+"/v3/logs", "", "SG.x", `{"query":"","limit":1000}`)
	check("EmailLogsGetMessagesByFilterResponse", list)
	id := list.(map[string]any)["messages"].([]any)[0].(map[string]any)["sg_message_id"].(string)
	check("EmailLogsGetMessageByIdResponse", b.answer(http.MethodGet, b.SendGridURL+"/v3/logs/"+id, "", "SG.x", ""))
	for _, body := range []string{"hello", `{"limit":0}`, `{"query":"colour = 'red'"}`} {
		check("ErrorResponse", b.answer(http.MethodPost, b.SendGridURL+"/v3/logs", "", "SG.x", body))
	}
	check("ErrorResponse", b.answer(http.MethodGet, b.SendGridURL+"/v3/logs/unknown", "", "SG.x", ""))
}

func BenchmarkSend(b *testing.B) {
	s := start(b, simulator.Config{})
	b.Run("email", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if got := s.sendMail(b.Context(), "x"); got.status != 202 {
					b.Errorf("%+v", got)
				}
			}
		})
	})
	b.Run("charge", func(b *testing.B) {
		api := s.stripe()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := api.New(charge(b.Context(), "x", "")); err != nil {
					b.Error(err)
				}
			}
		})
	})
	b.Run("sms", func(b *testing.B) {
		api := s.twilio()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				p := (&twilioapi.CreateMessageParams{}).SetTo("+491701234567").SetFrom("+15550001111").SetBody("hello")
				if _, err := api.CreateMessage(p); err != nil {
					b.Error(err)
				}
			}
		})
	})
}
