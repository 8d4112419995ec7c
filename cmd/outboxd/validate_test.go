package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// outboxdOn runs the program in this process with a standard input.
func outboxdOn(t *testing.T, input string, args ...string) result {
	t.Helper()
	var out, errOut bytes.Buffer
	code := run(t.Context(), args, nil, strings.NewReader(input), &out, &errOut)
	return result{code, out.String(), errOut.String()}
}

const (
	due   = `"due_at": {"$date": "2027-01-31T09:00:00Z"}`
	phone = "015112345678" // in no output
)

// smsDocument is a valid intent in Extended JSON; more is put in front of its fields.
func smsDocument(more string) string {
	return `{` + more + `"kind": "sms", "status": "pending", ` + due + `, "payload": {"to": "+4915112345678", "from": "+15005550006", "body": "Hello"}}`
}

func TestValidate(t *testing.T) {
	t.Parallel()
	valid := smsDocument("") + "\n" + smsDocument(`"_id": "order-1", `)
	if r := outboxdOn(t, valid, "validate", "-"); r != (result{exitDone, "2 valid.\n", ""}) {
		t.Errorf("valid documents: %+v", r)
	}
	file := filepath.Join(t.TempDir(), "intents.json")
	text := "[\n" + smsDocument("") + ",\n{\"kind\": \"sms\", \"status\": \"pending\",\n  \"payload\": {\n    \"to\": \"" + phone + "\",\n    \"from\": \"+15005550006\", \"body\": \"x\"}}\n]"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := outboxdOn(t, "", "validate", file)
	want := file + ":3: due_at is required\n" + file + ":5: payload.to must be an E.164 number, such as \"+4915112345678\"\n"
	if r.code != exitFailed || r.out != want || r.err != "outboxd: 1 of 2 documents break the contract\n" {
		t.Errorf("%d\n%s%s", r.code, r.out, r.err)
	}
	r = outboxdOn(t, "", "validate", "--json", file)
	lines := objects(t, r.out)
	if len(lines) != 2 || lines[0]["valid"] != true || lines[1]["valid"] != false || lines[1]["kind"] != "sms" || lines[1]["line"] != 3.0 {
		t.Fatalf("--json: %v", lines)
	}
	reasons, _ := lines[1]["reasons"].([]any)
	if first, _ := reasons[1].(map[string]any); len(reasons) != 2 || first["line"] != 5.0 || first["path"] != "payload.to" {
		t.Errorf("--json gives the reasons %v", reasons)
	}
}

// Each is refused for a reason at a place, and no reason holds a value.
func TestValidateFinds(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		smsDocument(`"_id": 5, `):                                                    "-:1: _id must be an ObjectId, a UUID or a string of 1 to 200 bytes",
		smsDocument(`"attempts": 1, `):                                               "-:1: attempts is written by the worker; leave it out",
		smsDocument(`"lease": {"token": "` + phone + `"}, `):                         "-:1: lease is written by the worker",
		smsDocument(`"result": {}, `):                                                "-:1: result is written by the worker",
		smsDocument(`"on_ambigous": 1, `):                                            "-:1: on_ambigous is not a field of the contract",
		smsDocument(`"` + phone + `": 1, `):                                          "-:1: ? is not a field of the contract",
		smsDocument(`"kind": "sms", `):                                               "-:1: kind stands here twice",
		strings.Replace(smsDocument(""), "pending", "done", 1):                       "-:1: status must be pending: the others are the worker's",
		strings.Replace(smsDocument(""), `"sms"`, `"smss"`, 1):                       "-:1: kind is none of charge, email, sms",
		smsDocument(`"on_done": [{"kind": "chrage", "payload": {}}], `):              "-:1: on_done.0.kind is none of charge, email, sms",
		strings.Replace(smsDocument(""), due, `"due_at": "2027-01-31"`, 1):           `-:1: due_at must be a Date, {"$date": "2027-01-31T09:00:00Z"} in Extended JSON`,
		strings.Replace(smsDocument(""), due, `"due_at": {"$date": "`+phone+`"}`, 1): "-:1: due_at is not Extended JSON",
		strings.Replace(smsDocument(""), "Hello", strings.Repeat("x", 1601), 1):      "-:1: payload.body must have at most 1600 characters",
		"\n" + smsDocument("\n\"payload\": 5,"):                                      "-:3: payload stands here twice",
	} {
		r := outboxdOn(t, text, "validate", "-")
		if r.code != exitFailed || !strings.Contains(r.out, want) || strings.Contains(r.out+r.err, phone) {
			t.Errorf("%s: exit code %d\n%s%swant %s", text, r.code, r.out, r.err, want)
		}
	}
}

func TestValidateWithoutDocuments(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                         "outboxd: - holds no document\n",
		"[]":                       "outboxd: - holds no document\n",
		smsDocument("") + "\n{'a'": "outboxd: -: line 2 is not JSON: invalid character '\\''",
	} {
		if r := outboxdOn(t, text, "validate", "-"); r.code != exitFailed || !strings.HasPrefix(r.err, want) {
			t.Errorf("%q: exit code %d, %s", text, r.code, r.err)
		}
	}
	if r := outboxdOn(t, "", "validate", filepath.Join(t.TempDir(), "none")); r.code != exitWrongUse {
		t.Errorf("a file that is not there: exit code %d, %s", r.code, r.err)
	}
}

func TestValidateByConfiguration(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "outboxd.yaml")
	if err := os.WriteFile(file, []byte("write_back: {collections: [orders]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for collection, code := range map[string]int{"orders": exitDone, "users": exitFailed} {
		text := smsDocument(`"write_back": {"collection": "` + collection + `", "id": "order-1", "done": {"sent": true}}, `)
		if r := outboxdOn(t, text, "validate", "--config", file, "-"); r.code != code {
			t.Errorf("write_back to %s: exit code %d, want %d\n%s", collection, r.code, code, r.out)
		}
		if r := outboxdOn(t, text, "validate", "-"); r.code != exitDone {
			t.Errorf("write_back to %s without a configuration: exit code %d\n%s", collection, r.code, r.out)
		}
	}
	unknown := strings.Replace(smsDocument(""), `"sms"`, `"fax"`, 1)
	if r := outboxdOn(t, unknown, "validate", "--allow-unknown-kinds", "-"); r.code != exitDone {
		t.Errorf("--allow-unknown-kinds: exit code %d\n%s", r.code, r.out)
	}
}

// What the database refuses is invalid, what it accepts is valid, and what its error says can be explained.
func TestValidateAndExplainAgreeWithTheDatabase(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		text string
		want string // in the explanation; empty: it is valid
	}{
		"four fields":      {smsDocument(""), ""},
		"a UUID":           {smsDocument(`"_id": {"$uuid": "6f1c1c0a-3f0f-4c39-9d53-1c9a5cf9c1d1"}, `), ""},
		"every number":     {smsDocument(`"_id": "n", "priority": {"$numberDouble": "2.0"}, "max_attempts": {"$numberLong": "3"}, "v": 1, `), ""},
		"follow-ups":       {smsDocument(`"_id": "f", "on_done": [{"kind": "sms", "payload": {"to": "${payload.to}", "from": "+15005550006", "body": "Again"}}], `), ""},
		"a decimal":        {smsDocument(`"_id": "d", "priority": {"$numberDecimal": "2"}, `), "priority: priority must be an integer from 0 to 3"},
		"a misspelt field": {smsDocument(`"_id": "m", "on_ambigous": "park", `), "unknown on_ambigous. An intent is one document"},
		"a number as _id":  {smsDocument(`"_id": 7, `), "_id: _id must be an ObjectId, a UUID"},
		"a local number":   {strings.Replace(smsDocument(`"_id": "l", `), "+4915112345678", phone, 1), "payload.to: to must be a phone number in E.164"},
		"no body":          {strings.Replace(smsDocument(`"_id": "b", `), `"body"`, `"text"`, 1), "payload: unknown text. "},
		"no due_at":        {strings.Replace(smsDocument(`"_id": "t", `), due, `"v": 1`, 1), "due_at is required while status is pending"},
		"a text as due_at": {strings.Replace(smsDocument(`"_id": "x", `), due, `"due_at": "2027"`, 1), "due_at: due_at must be a BSON Date"},
		"a bad follow-up":  {smsDocument(`"_id": "w", "on_dead": [{"kind": "sms", "payload": {"to": "` + phone + `"}}], `), "on_dead.payload.to: to must be"},
		"two senders":      {strings.Replace(smsDocument(`"_id": "s", `), `"body"`, `"messaging_service_sid": "MG0123456789abcdef0123456789abcdef", "body"`, 1), "payload: An sms needs either from"},
	} {
		t.Run(name, func(t *testing.T) {
			var doc bson.D
			if err := bson.UnmarshalExtJSON([]byte(c.text), false, &doc); err != nil {
				t.Fatal(err)
			}
			_, err := w.outbox().InsertOne(t.Context(), doc)
			code := exitDone
			if err != nil {
				code = exitFailed
			}
			if (err == nil) != (c.want == "") {
				t.Fatalf("the database says %v", err)
			}
			if r := outboxdOn(t, c.text, "validate", "-"); r.code != code {
				t.Errorf("validate ends with %d, want %d\n%s%s", r.code, code, r.out, r.err)
			}
			if err != nil {
				checkExplanations(t, err, c.want)
			}
		})
	}
}

// checkExplanations explains one error in the forms in which drivers print it.
func checkExplanations(t *testing.T, err error, want string) {
	t.Helper()
	refusal, ok := errors.AsType[mongo.WriteException](err)
	if !ok || len(refusal.WriteErrors) != 1 {
		t.Fatalf("got %v, want an error 121", err)
	}
	info := refusal.WriteErrors[0].Details
	details := info.Lookup("details").Document()
	for form, canonical := range map[string]bool{"relaxed": false, "canonical": true} {
		for name, v := range map[string]any{
			"errInfo": info, "the explanation alone": details,
			"pymongo": bson.D{{Key: "index", Value: 0}, {Key: "code", Value: 121}, {Key: "errInfo", Value: info}},
			"a reply": bson.D{{Key: "n", Value: 0}, {Key: "writeErrors", Value: bson.A{bson.D{{Key: "code", Value: 121}, {Key: "errInfo", Value: info}}}}},
			"Node":    bson.D{{Key: "errorResponse", Value: bson.D{{Key: "errInfo", Value: info}}}},
		} {
			text, err := bson.MarshalExtJSON(v, canonical, false)
			if err != nil {
				t.Fatal(err)
			}
			r := outboxdOn(t, string(text), "explain")
			if r.code != exitDone || !strings.Contains(r.out, want) || strings.Contains(r.out, phone) || strings.Contains(r.out, "4915112345678\"") {
				t.Errorf("%s, %s: exit code %d\n%s%swant %q", name, form, r.code, r.out, r.err, want)
			}
		}
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	// What JSON.stringify makes of an error: dates and ids are plain strings, and no Extended JSON.
	info := `{"failingDocumentId": "65f0", "details": {"operatorName": "$jsonSchema", "title": "intent", "schemaRulesNotSatisfied": [
		{"operatorName": "properties", "propertiesNotSatisfied": [{"propertyName": "due_at", "details": [{"operatorName": "bsonType", "title": "due_at",
		"description": "due_at must be a BSON Date.", "specifiedAs": {"bsonType": "date"}, "reason": "type did not match",
		"consideredValue": {"$date": "` + phone + `"}, "consideredType": "string"}]}]},
		{"operatorName": "required", "description": "An intent is one document.", "missingProperties": ["kind"]}]}}`
	r := outboxdOn(t, info, "explain", "-")
	if r.code != exitDone || r.out != "due_at: due_at must be a BSON Date.\nmissing kind. An intent is one document.\n" {
		t.Errorf("exit code %d\n%s%s", r.code, r.out, r.err)
	}
	r = outboxdOn(t, info, "explain", "--json")
	if lines := objects(t, r.out); len(lines) != 2 || lines[0]["path"] != "due_at" || lines[0]["rule"] != "due_at" {
		t.Errorf("--json: %s", r.out)
	}
	for text, want := range map[string]string{
		"": "- holds no errInfo", `{"code": 11000}`: "- holds no errInfo", `{"details": {"operatorName": "$gt"}}`: "- holds no errInfo",
		"MongoServerError": "- is not JSON: ",
	} {
		if r := outboxdOn(t, text, "explain"); r.code != exitFailed || !strings.Contains(r.err, want) || r.out != "" {
			t.Errorf("%q: exit code %d, %s", text, r.code, r.err)
		}
	}
}
