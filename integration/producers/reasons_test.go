package producers

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/migrations"
)

// secret stands in every document that is refused, and in no reason.
const secret = "015112345678"

// refused returns documents that break one rule of each sort, or several at once.
func refused() []bson.M {
	sms := func(change func(payload, intent bson.M)) bson.M {
		payload := bson.M{"to": "+4915112345678", "from": "+15005550006", "body": "Call " + secret}
		intent := bson.M{"kind": "sms", "status": "pending", "due_at": time.Now(), "payload": payload}
		change(payload, intent)
		return intent
	}
	set := func(field string, value any) bson.M { return sms(func(_, intent bson.M) { intent[field] = value }) }
	return []bson.M{
		set("kind", "smss"), set("on_dead", bson.A{bson.M{"kind": "emial", "payload": bson.M{}}}),
		set("kind", int32(1)), set("status", "queued"), set("due_at", secret), set("priority", int32(9)), set("on_ambigous", "park"),
		set("_id", bson.M{"a": secret}), set("_id", strings.Repeat("ü", 150)), set("ordering_key", "k"), set("metadata", bson.M{"n": int32(1)}),
		set("payload", secret), set("trace", bson.M{"parent": "x"}), set("write_back", bson.M{"collection": "orders"}),
		set("write_back", bson.M{"collection": "orders", "id": nil, "done": bson.M{"$set": bson.M{"a": 1}}}),
		set("on_done", bson.A{bson.M{"kind": "sms", "payload": bson.M{"to": secret}}, bson.M{"kind": "email", "payload": bson.M{}}}),
		set("on_dead", bson.A{bson.M{"kind": "sms", "status": "pending", "payload": bson.M{}}}),
		sms(func(p, _ bson.M) { p["to"] = secret }), sms(func(p, _ bson.M) { delete(p, "body") }), sms(func(p, _ bson.M) { delete(p, "from") }),
		sms(func(p, i bson.M) { p["to"], p["txt"], i["unknown"], i["priority"] = secret, secret, secret, "high" }),
		sms(func(_, i bson.M) { delete(i, "due_at") }), sms(func(_, i bson.M) { delete(i, "kind"); delete(i, "payload") }),
		{"kind": "charge", "status": "pending", "due_at": time.Now(), "payload": bson.M{"amount": 19.99, "currency": "EUR", "customer": secret}},
		{"kind": "email", "status": "pending", "due_at": time.Now(), "payload": bson.M{"from": secret, "to": bson.M{"name": secret}, "subject": "s"}},
		{"kind": "email", "status": "pending", "due_at": time.Now(), "payload": bson.M{"from": "a@b.example", "to": "a@b.example",
			"cc": slices.Repeat(bson.A{"c@d.example"}, 600), "bcc": slices.Repeat(bson.A{"c@d.example"}, 600), "subject": "s", "text": "t"}},
	}
}

// The helpers of all languages give the same reasons as the worker's own language has, and none of the values.
func TestHelpersGiveTheReasons(t *testing.T) {
	t.Parallel()
	outbox := migrated(t).Collection("outbox")
	var infos []string
	var want [][]string
	for _, doc := range refused() {
		_, err := outbox.InsertOne(t.Context(), doc)
		var lines []string
		for _, r := range migrations.Reasons(err) {
			lines = append(lines, r.String())
		}
		if len(lines) == 0 {
			t.Fatalf("%v is not refused: %v", doc, err)
		}
		want = append(want, lines)
		infos = append(infos, errInfo(t, err))
	}
	text := strings.Join(infos, "\n") + "\n"

	for name, c := range map[string]struct {
		workspace     func(*testing.T) *workspace
		file, program string
		prepare       []string
		command       []string
	}{
		"node": {node, "each.mjs", `import { readFileSync } from "node:fs";
import { BSON } from "mongodb";
import { reasons } from "./reasons.cjs";
for (const line of readFileSync("infos.json", "utf8").trim().split("\n")) console.log(JSON.stringify(reasons(BSON.EJSON.parse(line))));
`, nil, []string{"node", "each.mjs"}},
		"python": {python, "each.py", `import json
from bson import json_util
from outbox_reasons import reasons
for line in open("infos.json", encoding="utf-8"):
    print(json.dumps(reasons(json_util.loads(line))))
`, nil, []string{"python3", "each.py"}},
		"java": {java, "Each.java", `import java.nio.file.*;
import org.bson.*;
public class Each {
  public static void main(String[] args) throws Exception {
    for (String line : Files.readAllLines(Path.of("infos.json"))) {
      var reasons = new BsonArray(OutboxReasons.of(BsonDocument.parse(line)).stream().map(BsonString::new).toList());
      System.out.println(new BsonDocument("r", reasons).toJson());
    }
  }
}
`, []string{"javac", "Each.java", "OutboxReasons.java"}, []string{"java", "-Dstdout.encoding=UTF-8", "Each"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := c.workspace(t)
			w.write("infos.json", text)
			w.write(c.file, c.program)
			if c.prepare != nil {
				w.must(c.prepare...)
			}
			code, out := w.run(t.Context(), "", nil, c.command...)
			lines := strings.Split(strings.TrimSpace(out), "\n")
			if code != 0 || len(lines) != len(want) {
				t.Fatalf("exit code %d, %d lines, want %d:\n%s", code, len(lines), len(want), out)
			}
			for i, line := range lines {
				if strings.Contains(line, secret) {
					t.Errorf("a value of the document is repeated: %s", line)
				}
				line = strings.TrimSuffix(strings.TrimPrefix(line, `{"r": `), "}")
				var got []string
				if err := json.Unmarshal([]byte(line), &got); err != nil {
					t.Fatalf("%s: %v", line, err)
				}
				if !slices.Equal(got, want[i]) {
					t.Errorf("the reasons are\n  %s\nwant\n  %s\nof %s", strings.Join(got, "\n  "), strings.Join(want[i], "\n  "), infos[i])
				}
			}
		})
	}
}
