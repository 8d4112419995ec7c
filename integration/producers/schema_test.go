package producers

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/outboxd/outboxd/migrations"
)

// judged is a document in Extended JSON, and the place where it is wrong; none if it is right.
type judged struct {
	Name  string         `json:"name"`
	Doc   map[string]any `json:"doc"`
	Where string         `json:"where"` // as a JSON Pointer
	Valid bool           `json:"valid"`
}

func documents() []judged {
	date := map[string]any{"$date": "2027-01-31T09:00:00Z"}
	base := func() map[string]any {
		return map[string]any{"kind": "sms", "status": "pending", "due_at": date, "payload": map[string]any{"to": "+4915112345678", "from": "+15005550006", "body": "x"}}
	}
	edit := func(change func(doc, payload map[string]any)) map[string]any {
		d := base()
		change(d, d["payload"].(map[string]any))
		return d
	}
	set := func(field string, v any) map[string]any {
		return edit(func(d, _ map[string]any) { d[field] = v })
	}
	inPayload := func(field string, v any) map[string]any {
		return edit(func(_, p map[string]any) { p[field] = v })
	}
	followUp := func(payload any) []any { return []any{map[string]any{"kind": "sms", "payload": payload}} }
	return []judged{
		{"as it is", base(), "", true},
		{"a null", set("expires_at", nil), "", true},
		{"what mappers add", edit(func(d, p map[string]any) { d["__v"], p["_class"] = 0, "x" }), "", true},
		{"an ObjectId", set("_id", map[string]any{"$oid": "65f0000000000000000000ab"}), "", true},
		{"a UUID", set("_id", map[string]any{"$uuid": "6f1c1c0a-3f0f-4c39-9d53-1c9a5cf9c1d1"}), "", true},
		{"a follow-up with references", set("on_done", followUp(map[string]any{"to": "${payload.to}", "from": "+15005550006", "body": "${_id}"})), "", true},
		{"a follow-up by reference", set("on_dead", followUp("${payload}")), "", true},
		{"a local number", inPayload("to", "0151"), "/payload/to", false},
		{"a number as text", inPayload("validity_seconds", "60"), "/payload/validity_seconds", false},
		{"an unknown field", inPayload("txt", "x"), "/payload", false},
		{"a date as text", set("due_at", "2027-01-31T09:00:00Z"), "/due_at", false},
		{"a date without an offset", set("due_at", map[string]any{"$date": "2027-01-31T09:00:00"}), "/due_at/$date", false},
		{"a priority of 9", set("priority", 9), "/priority", false},
		{"an amount with decimals", map[string]any{"kind": "charge", "status": "pending", "due_at": date,
			"payload": map[string]any{"amount": 19.99, "currency": "eur", "customer": "c", "payment_method": "p"}}, "/payload/amount", false},
		{"a bad address in a list", map[string]any{"kind": "email", "status": "pending", "due_at": date,
			"payload": map[string]any{"from": "a@b.example", "to": "a@b.example", "subject": "s", "text": "t", "cc": []any{"a@b.example", "c"}}}, "/payload/cc/1", false},
		{"a mistyped kind", set("kind", "smss"), "/kind", false},
		{"a follow-up's local number", set("on_done", followUp(map[string]any{"to": "0151", "from": "+15005550006", "body": "x"})), "/on_done/0/payload/to", false},
		{"an attempt", set("attempts", 1), "", false},
	}
}

// The schema is taken by other people's tools as it is: without options, without a warning, and what they say is
// wrong is the field that is wrong.
func TestSchemaInOtherToolsHands(t *testing.T) {
	t.Parallel()
	schema := func(o migrations.SchemaOptions) string {
		text, err := migrations.JSONSchema(o)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	text, err := json.Marshal(documents())
	if err != nil {
		t.Fatal(err)
	}
	prepare := func(w *workspace) {
		w.write("schema.json", schema(migrations.SchemaOptions{}))
		for _, kind := range []string{"charge", "email", "sms"} {
			w.write(kind+".json", schema(migrations.SchemaOptions{Kind: kind}))
		}
		w.write("documents.json", string(text))
	}
	for name, c := range map[string]struct {
		workspace func(*testing.T) *workspace
		file      string
		program   string
		command   []string
	}{
		"ajv": {node, "check.cjs", `
const Ajv = require("ajv");
const read = (name) => JSON.parse(require("fs").readFileSync(name, "utf8"));
const compiled = (name) => new Ajv({ strictTypes: true }).compile(read(name));
const all = new Ajv().compile(read("schema.json")), kinds = Object.fromEntries(["charge", "email", "sms"].map((k) => [k, compiled(k + ".json")]));
const places = (check, doc) => check(doc) ? null : check.errors.map((e) => e.instancePath);
console.log(JSON.stringify(Object.fromEntries(read("documents.json").map((d) => [d.name, { all: places(all, d.doc), one: kinds[d.doc.kind] ? places(kinds[d.doc.kind], d.doc) : null }]))));
`, []string{"node", "check.cjs"}},
		"jsonschema": {python, "check.py", `
import json, pathlib
import jsonschema
read = lambda name: json.loads(pathlib.Path(name).read_text("utf-8"))
def validator(name):
    schema = read(name)
    of = jsonschema.validators.validator_for(schema)
    of.check_schema(schema)
    return of(schema)
every, kinds = validator("schema.json"), {k: validator(k + ".json") for k in ("charge", "email", "sms")}
def leaves(error):
    yield "".join("/" + str(step) for step in error.absolute_path)
    for inner in error.context or ():
        yield from leaves(inner)
def places(check, doc):
    found = [place for error in check.iter_errors(doc) for place in leaves(error)]
    return found or None
print(json.dumps({d["name"]: {"all": places(every, d["doc"]), "one": places(kinds[d["doc"]["kind"]], d["doc"]) if d["doc"]["kind"] in kinds else None}
                  for d in read("documents.json")}))
`, []string{"python3", "-W", "error", "check.py"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := c.workspace(t)
			prepare(w)
			w.write(c.file, c.program)
			code, out := w.run(t.Context(), "", nil, c.command...)
			var got map[string]struct{ All, One []string }
			if err := json.Unmarshal([]byte(out), &got); code != 0 || err != nil {
				t.Fatalf("exit code %d, %v, or something beside the answer:\n%s", code, err, out)
			}
			for _, d := range documents() {
				g, ok := got[d.Name]
				if !ok || d.Valid != (g.All == nil) || d.Valid && g.One != nil {
					t.Errorf("%s: wrong at %q, valid is %t", d.Name, g.All, d.Valid)
				}
				if d.Where != "" && !slices.Contains(g.All, d.Where) {
					t.Errorf("%s: wrong at %q, want %s", d.Name, g.All, d.Where)
				}
				if strings.HasPrefix(d.Where, "/payload/") && !slices.Contains(g.One, d.Where) {
					t.Errorf("%s by the schema of its kind: wrong at %q, want %s", d.Name, g.One, d.Where)
				}
			}
		})
	}
	t.Run("quicktype", func(t *testing.T) {
		t.Parallel()
		w := node(t)
		prepare(w)
		w.write("generate.cjs", `
const { quicktype, InputData, JSONSchemaInput, FetchingJSONSchemaStore } = require("quicktype-core");
(async () => {
  const made = {};
  for (const lang of ["typescript", "java", "csharp", "go"]) {
    const input = new JSONSchemaInput(new FetchingJSONSchemaStore());
    await input.addSource({ name: "Intent", schema: require("fs").readFileSync("schema.json", "utf8") });
    const data = new InputData();
    data.addInput(input);
    made[lang] = (await quicktype({ inputData: data, lang })).lines.join("\n");
  }
  console.log(JSON.stringify(made));
})();
`)
		code, out := w.run(t.Context(), "", nil, "node", "generate.cjs")
		var made map[string]string
		if err := json.Unmarshal([]byte(out), &made); code != 0 || err != nil {
			t.Fatalf("exit code %d: %v\n%.2000s", code, err, out)
		}
		for language, words := range map[string][]string{"typescript": {"dedup_key?", "messaging_service_sid?", "due_at:"}, "java": {"class Intent", "getDedupKey"},
			"csharp": {"class Intent", "DedupKey"}, "go": {"type Intent struct", `json:"dedup_key`}} {
			for _, word := range words {
				if !strings.Contains(made[language], word) {
					t.Errorf("the types in %s have no %q:\n%.1500s", language, word, made[language])
				}
			}
		}
		if len(made) != 4 {
			t.Errorf("types in %v", slices.Collect(maps.Keys(made)))
		}
	})
}

// The types in TypeScript let through what is right, and find what types can find.
func TestSchemaInTypeScript(t *testing.T) {
	t.Parallel()
	text, err := migrations.TypeScript(migrations.SchemaOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w := node(t)
	w.write("intent.ts", string(text))
	w.write("use.ts", `import { ObjectId, UUID, type Collection } from "mongodb";
import type { ChargeIntent, Intent } from "./intent.js";

const sms = { to: "+4915112345678", from: "+15005550006", body: "x" };
const now = new Date();
export const right: Intent[] = [
  { kind: "sms", status: "pending", due_at: now, payload: sms },
  { _id: new UUID(), kind: "sms", status: "pending", due_at: now, payload: sms, expires_at: null, on_ambiguous: "park" },
  { _id: new ObjectId(), kind: "charge", status: "pending", due_at: now, payload: { amount: 1999, currency: "eur", customer: "c", payment_method: "p" },
    on_done: [{ kind: "sms", payload: { ...sms, body: "${result.id}" }, delay_seconds: 60 }],
    on_dead: [{ kind: "charge", payload: { amount: "${payload.amount}", currency: "eur", customer: "c", payment_method: "p" }, when: ["expired"] }],
    write_back: { collection: "orders", id: 7, done: { state: "paid" } } },
  { kind: "email", status: "pending", due_at: now, payload: { from: "a@b.example", to: { email: "a@b.example", name: "A" }, cc: ["c@d.example"], subject: "s", text: "t" } },
];
export const charge: ChargeIntent = { kind: "charge", status: "pending", due_at: now, payload: { amount: 1, currency: "eur", customer: "c", payment_method: "p" } };
export const insert = (outbox: Collection<Intent>, intent: Intent) => outbox.insertOne(intent as never);

export const wrong: Intent[] = [
  // @ts-expect-error a mistyped kind
  { kind: "smss", status: "pending", due_at: now, payload: sms },
  // @ts-expect-error a date as text
  { kind: "sms", status: "pending", due_at: "2027-01-31", payload: sms },
  // @ts-expect-error a status of the worker's
  { kind: "sms", status: "done", due_at: now, payload: sms },
  // @ts-expect-error no due_at
  { kind: "sms", status: "pending", payload: sms },
  // @ts-expect-error a field of another kind
  { kind: "sms", status: "pending", due_at: now, payload: { ...sms, amount: 5 } },
  // @ts-expect-error a mistyped field
  { kind: "sms", status: "pending", due_at: now, payload: sms, on_ambigous: "park" },
  // @ts-expect-error an amount as text
  { kind: "charge", status: "pending", due_at: now, payload: { amount: "1999", currency: "eur", customer: "c", payment_method: "p" } },
];
`)
	w.must("node_modules/.bin/tsc", "--strict", "--noEmit", "--target", "es2022", "--module", "nodenext", "--types", "node", "use.ts")
}
