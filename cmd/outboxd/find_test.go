package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

func TestFind(t *testing.T) {
	w := newWorld(t)
	now := time.Now().UTC().Truncate(time.Millisecond)
	uuidDoc := map[string]any{"$binary": map[string]any{"base64": "MDEyMzQ1Njc4OWFiY2RlZg==", "subType": "04"}}
	oid, uuid := bson.NewObjectID(), bson.Binary{Subtype: bson.TypeBinaryUUID, Data: []byte("0123456789abcdef")}
	byOID, hex := intent("sms", "x"), intent("sms", bson.NewObjectID().Hex())
	byOID[0].Value = oid
	w.insert(t, intent("email", "order-1"), intent("email", "order-2", bson.E{Key: "metadata", Value: bson.D{{Key: "order", Value: "o7"}}}), byOID, hex,
		deadLetter("opted", "sms", "permanent", "opted_out", now.Add(-time.Hour)), deadLetter(uuid, "sms", "exhausted", "not_sent", now.Add(-48*time.Hour)),
		deadLetter("declined", "charge", "permanent", "declined", now))
	for flags, want := range map[string][]any{
		"--id order-":                          {"order-1", "order-2"},
		"--id " + oid.Hex():                    {map[string]any{"$oid": oid.Hex()}},
		"--status dead":                        {"declined", "opted", uuidDoc},
		"--code opted_out":                     {"opted"},
		"--reason permanent":                   {"declined", "opted"},
		"--status dead --kind sms --since 2h":  {"opted"},
		"--status dead --kind sms --until 2h":  {uuidDoc},
		"--kind charge":                        {},
		"--kind email":                         {"order-1", "order-2"},
		"--id " + hex[0].Value.(string):        {hex[0].Value},
		"--id order- --status dead":            {},
		"--id order- --kind email --limit 500": {"order-1", "order-2"},
	} {
		var got []any
		for _, doc := range objects(t, must(t, exitDone, w.env, append([]string{"find", "--json"}, strings.Fields(flags)...)...).out) {
			got = append(got, doc["_id"])
			if len(doc) != 9 {
				t.Errorf("find %s: %v", flags, doc)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("find %s: %v, want %v", flags, got, want)
		}
	}
	r := must(t, exitDone, w.env, "find", "--status", "dead")
	checkPlain(t, r.out)
	if strings.Count(r.out, "\n") != 4 || !strings.Contains(r.out, "permanent opted_out") {
		t.Errorf("find:\n%s", r.out)
	}
	for _, want := range []string{"No intent fits.", `"emial" is no kind`} {
		if r := must(t, exitDone, w.env, "find", "--kind", "emial"); !strings.Contains(r.out, want) {
			t.Errorf("find nothing:\n%s", r.out)
		}
	}
	// Of metadata only an index of the deployment's own makes it possible.
	if r := must(t, exitWrongUse, w.env, "find", "--metadata", "order=o7"); !strings.Contains(r.err, "no index serves metadata.order") {
		t.Errorf("without an index: %s", r.err)
	}
	if _, err := w.outbox().Indexes().CreateOne(t.Context(), indexOn("metadata.order")); err != nil {
		t.Fatal(err)
	}
	if docs := objects(t, must(t, exitDone, w.env, "find", "--metadata", "order=o7", "--json").out); len(docs) != 1 || docs[0]["_id"] != "order-2" {
		t.Errorf("with an index: %v", docs)
	}
	for flags, want := range map[string]string{
		"": "or another flag", "--status waiting --since 1h": "flag --since", "--id x --since 1h": "flag --id", "--status done --code declined": "flag --status", "--status odd": "is no status",
		"--status in-doubt": "flag --kind", "--status dead --limit 501": "at most 500", "--status dead --after x": "none of this search", "--reason bored --code tired --until never": "3 problems",
	} {
		if r := must(t, exitWrongUse, w.env, append([]string{"find"}, strings.Fields(flags)...)...); !strings.Contains(r.err, want) {
			t.Errorf("find %s: %s", flags, r.err)
		}
	}
}

// Pages hold each intent once, whatever comes and goes in between.
func TestFindPages(t *testing.T) {
	w := newWorld(t)
	now := time.Now().UTC().Truncate(time.Millisecond)
	for i := range 7 { // several of one instant
		w.insert(t, deadLetter(fmt.Sprintf("letter-%d", i), "sms", "exhausted", "not_sent", now.Add(-time.Duration(i/3)*time.Hour)))
	}
	var seen []string
	args := []string{"find", "--status", "dead", "--kind", "sms", "--limit", "2", "--json"}
	for page, after := 0, ""; page == 0 || after != ""; page++ {
		next := slices.Clone(args)
		if after != "" {
			next = append(next, "--after", after)
		}
		after = ""
		for _, doc := range objects(t, must(t, exitDone, w.env, next...).out) {
			if cursor, ok := doc["next"].(string); ok {
				after = cursor
				continue
			}
			seen = append(seen, doc["_id"].(string))
		}
		w.insert(t, deadLetter(fmt.Sprintf("newer-%d", page), "sms", "exhausted", "not_sent", time.Now()))
	}
	slices.Sort(seen)
	if want := "letter-0 letter-1 letter-2 letter-3 letter-4 letter-5 letter-6"; strings.Join(seen, " ") != want {
		t.Errorf("the pages hold %v", seen)
	}
	if r := must(t, exitDone, w.env, args[:len(args)-1]...); !strings.Contains(r.out, "There is more: the same command with --after ") {
		t.Errorf("a page:\n%s", r.out)
	}
}

func TestDeadGroups(t *testing.T) {
	w := newWorld(t)
	now := time.Now().UTC().Truncate(time.Millisecond)
	if r := must(t, exitDone, w.env, "dead", "groups"); r.out != "There are no dead letters.\n" {
		t.Errorf("without any: %s", r.out)
	}
	w.insert(t, deadLetter("a", "sms", "exhausted", "not_sent", now.Add(-time.Hour)), deadLetter("b", "sms", "exhausted", "not_sent", now), deadLetter("c", "charge", "permanent", "declined", now))
	r := must(t, exitDone, w.env, "dead", "groups")
	checkPlain(t, r.out)
	if lines := strings.Split(r.out, "\n"); len(lines) != 4 || !strings.Contains(oneLine(lines[1]), "2 sms exhausted not_sent") || !strings.HasSuffix(lines[1], " b") {
		t.Errorf("dead groups:\n%s", r.out)
	}
	docs := objects(t, must(t, exitDone, w.env, "dead", "groups", "--kind", "charge", "-o", "json").out)
	if len(docs) != 1 || docs[0]["count"] != 1.0 || docs[0]["more"] != false || docs[0]["code"] != "declined" || docs[0]["provider_code"] != nil || docs[0]["example"] != "c" || len(docs[0]) != 9 {
		t.Errorf("dead groups: %v", docs)
	}
	if r := must(t, exitDone, w.env, "dead", "groups", "-o", "yaml"); strings.Count(r.out, "---\nkind: ") != 2 || !strings.Contains(r.out, "\ncount: 2\n") {
		t.Errorf("as YAML:\n%s", r.out)
	}
	must(t, exitWrongUse, w.env, "dead", "groups", "-o", "xml")
}
