package outbox

import (
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"
)

// fax is a follow-up of a kind without rules of its own.
func fax(fields ...any) map[string]any {
	f := map[string]any{"kind": "fax", "payload": map[string]any{}}
	for i := 0; i < len(fields); i += 2 {
		edit(f, fields[i].(string), fields[i+1])
	}
	return f
}

func done(id string) Decision {
	return Decision{Status: StatusDone, Receipt: &Receipt{Provider: "twilio", ID: id, Status: "queued"}}
}

func dead(reason DeadReason, code string) Decision {
	return Decision{Status: StatusDead, Reason: reason, Failure: &Failure{Code: code}}
}

func TestConsequences(t *testing.T) {
	doc := document(KindSMS, smsPayload())
	doc["metadata"] = map[string]any{"order": "o1"}
	nested := fax("payload.sid", "${payload.sid}", "payload.mine", "${result.id}")
	doc["on_done"] = []any{
		fax("delay_seconds", 90.0, "dedup_key", "receipt-${metadata.order}", "payload.sid", "${result.id}", "payload.of", "${_id}", "payload.literal", "$${x}", "on_done", []any{nested}),
		fax("payload.status", "${result.provider}: ${result.status}"),
	}
	doc["on_dead"] = []any{fax("payload.why", "${dead_reason}/${last_error.code}")}
	doc["write_back"] = map[string]any{"collection": "orders", "id": "${metadata.order}", "done": map[string]any{"sms.sid": "${result.id}"}, "dead": map[string]any{"sms": map[string]any{"why": "${dead_reason}"}}}
	in := Parse(doc, testRules)
	if len(in.Problems) > 0 {
		t.Fatalf("%q", problems(in))
	}

	ups, update := in.Consequences(done("SM1"), testRules)
	want := []FollowUp{
		{ID: NewStringID("order-1:done:0"), Delay: 90 * time.Second, DedupKey: "receipt-o1", Document: map[string]any{
			"_id": "order-1:done:0", "status": "pending", "kind": "fax", "dedup_key": "receipt-o1",
			"payload": map[string]any{"sid": "SM1", "of": "order-1", "literal": "${x}"}, "on_done": []any{nested}}},
		{ID: NewStringID("order-1:done:1"), Document: map[string]any{"_id": "order-1:done:1", "status": "pending", "kind": "fax", "payload": map[string]any{"status": "twilio: queued"}}},
	}
	if !reflect.DeepEqual(ups, want) {
		t.Errorf("got  %+v\nwant %+v", ups, want)
	}
	if want := (&Update{Collection: "orders", ID: "o1", Set: map[string]any{"sms.sid": "SM1"}}); !reflect.DeepEqual(update, want) {
		t.Errorf("got %+v, want %+v", update, want)
	}

	// The follow-up is an intent, and its own follow-ups refer to it.
	child := Parse(edit(ups[0].Document, "due_at", testNow), testRules)
	grand, _ := child.Consequences(done("SM2"), testRules)
	if len(child.Problems) > 0 || len(grand) != 1 || grand[0].ID.String() != "order-1:done:0:done:0" ||
		!reflect.DeepEqual(grand[0].Document["payload"], map[string]any{"sid": "SM1", "mine": "SM2"}) {
		t.Errorf("%q, %+v", problems(child), grand)
	}

	ups, update = in.Consequences(dead(ReasonPermanent, CodeDeclined), testRules)
	if len(ups) != 1 || ups[0].ID.String() != "order-1:dead:0" || ups[0].Document["payload"].(map[string]any)["why"] != "permanent/declined" {
		t.Errorf("got %+v", ups)
	}
	if !reflect.DeepEqual(update.Set, map[string]any{"sms": map[string]any{"why": "permanent"}}) || len(update.Problems) > 0 {
		t.Errorf("got %+v", update)
	}
	if ups, update := in.Consequences(Decision{Status: StatusPending}, testRules); ups != nil || update != nil {
		t.Errorf("a retry has consequences: %+v, %+v", ups, update)
	}
}

func TestConsequencesKeepTheCodeOfAnEarlierFailure(t *testing.T) {
	doc := edit(document(KindSMS, smsPayload()), "last_error", map[string]any{"code": CodeNoAnswer})
	doc["on_dead"] = []any{fax("payload.code", "${last_error.code}")}
	ups, _ := Parse(doc, Rules{}).Consequences(Decision{Status: StatusDead, Reason: ReasonAmbiguous}, Rules{})
	if len(ups) != 1 || len(ups[0].Problems) > 0 || ups[0].Document["payload"].(map[string]any)["code"] != CodeNoAnswer {
		t.Errorf("got %+v", ups)
	}
}

// TestFollowUpRules has each mistake found before the parent is sent, and again at settling, where it costs the
// parent nothing.
func TestFollowUpRules(t *testing.T) {
	level := func(n int) any {
		list := any([]any{})
		for range n {
			list = []any{fax("on_dead", list)}
		}
		return list
	}
	rows := []struct {
		name     string
		followUp map[string]any
		path     string // of the problem within the follow-up; empty: none
	}{
		{"three levels", fax("on_done", level(2)), ""},
		{"four levels", fax("on_done", level(3)), "on_done.0.on_dead.0.on_dead"},
		{"no kind", fax("kind", missing), "kind"},
		{"no payload", fax("payload", missing), "payload"},
		{"a payload of another kind", fax("kind", "sms"), "payload.to"},
		{"an unknown field", fax("delay", int64(5)), "delay"},
		{"a delay", fax("delay_seconds", int64(0)), ""},
		{"a negative delay", fax("delay_seconds", int64(-1)), "delay_seconds"},
		{"a delay of half a second", fax("delay_seconds", 0.5), "delay_seconds"},
		{"a delay by reference", fax("delay_seconds", "${payload.n}"), "delay_seconds"},
		{"an id of its own", fax("_id", "a"), "_id"},
		{"a status", fax("status", "pending"), "status"},
		{"a due date", fax("due_at", testNow), "due_at"},
		{"attempts", fax("attempts", int64(50)), "attempts"},
		{"a lease", fax("lease", map[string]any{"token": "t"}), "lease"},
		{"a generation", fax("generation", int64(1)), "generation"},
		{"a result", fax("result", map[string]any{}), "result"},
		{"a typing error in on_ambiguous", fax("on_ambiguous", "prak"), "on_ambiguous"},
		{"a payload field that is not there", fax("payload.a", "${payload.nothing}"), "payload.a"},
		{"a reference in the metadata", fax("metadata.m", "${metadata.nothing}"), "metadata.m"},
		{"a reference of the wrong type", fax("metadata.m", "${payload.n}"), "metadata.m"},
		{"a reference in a nested one to its grandparent", fax("on_done", []any{fax("payload.a", "${payload.n}")}), "on_done.0.payload.a"},
		{"a write_back that is not allowed", fax("write_back", map[string]any{"collection": "users", "id": "u"}), "write_back.collection"},
		{"no document", nil, ""},
	}
	for _, row := range rows {
		if row.followUp == nil {
			in := Parse(edit(document(KindSMS, smsPayload()), "on_done", []any{"a"}), testRules)
			if len(in.Problems) != 1 || in.Problems[0].Path != "on_done.0" {
				t.Errorf("%s: %q", row.name, problems(in))
			}
			continue
		}
		doc := document("fax", map[string]any{"n": int64(1)})
		doc["on_dead"] = []any{row.followUp}
		in := Parse(doc, testRules)
		want := "on_dead.0." + row.path
		if (row.path == "") != (len(in.Problems) == 0) || row.path != "" && in.Problems[0].Path != want {
			t.Errorf("%s: got %q, want a problem at %s", row.name, problems(in), want)
		}
		ups, _ := in.Consequences(dead(ReasonInvalid, CodeInvalid), testRules)
		if len(ups) != 1 || (row.path == "") != (len(ups[0].Problems) == 0) || row.path != "" && ups[0].Problems[0].Path != row.path {
			t.Errorf("%s: at settling: got %+v", row.name, ups)
			continue
		}
		for field := range ups[0].Document {
			if field == "attempts" || field == "lease" || field == "due_at" || field == "generation" || field == "result" || field == "delay_seconds" {
				t.Errorf("%s: the follow-up brings %s along", row.name, field)
			}
		}
		if ups[0].Document["_id"] != "order-1:dead:0" || ups[0].Document["status"] != "pending" {
			t.Errorf("%s: got %v", row.name, ups[0].Document)
		}
	}
	if in := Parse(edit(document("fax", nil), "on_done", repeated(17)), testRules); !strings.Contains(strings.Join(problems(in), "\n"), "on_done must have at most 16") {
		t.Errorf("seventeen follow-ups: %q", problems(in))
	}
}

func repeated(n int) []any {
	var list []any
	for range n {
		list = append(list, fax())
	}
	return list
}

func TestFollowUpIDsStayWithinTheLimit(t *testing.T) {
	for length, want := range map[int]int{193: 0, 194: 1} { // 200 bytes less ":done:0"
		doc := edit(edit(document("fax", map[string]any{}), "_id", strings.Repeat("a", length)), "on_done", repeated(1))
		if in := Parse(doc, Rules{}); len(in.Problems) != want {
			t.Errorf("an _id of %d bytes: %q", length, problems(in))
		}
	}
}

func TestWriteBackRules(t *testing.T) {
	rows := []struct {
		name  string
		path  string
		value any
		where string // empty: fine
	}{
		{"a path", "done", map[string]any{"a.b": 1.5, "a.c.0": nil}, ""},
		{"an id that is a document", "id", map[string]any{"tenant": "t", "n": int64(1)}, ""},
		{"an id by reference", "id", "${payload.n}", ""},
		{"an id that only done knows", "id", "${result.id}", ""},
		{"no collection", "collection", missing, "collection"},
		{"another collection", "collection", "users", "collection"},
		{"no id", "id", missing, "id"},
		{"null as id", "id", nil, "id"},
		{"a list as id", "id", []any{"a"}, "id"},
		{"an operator as id", "id", map[string]any{"$ne": nil}, "id"},
		{"an operator as id by reference", "id", "${payload.operator}", "id"},
		{"a decimal as id", "id", Unsupported{Type: "decimal128"}, "id"},
		{"an id that cannot exist", "id", "${payload.nothing}", "id"},
		{"an operator", "done", map[string]any{"$inc": map[string]any{"n": int64(1)}}, "done"},
		{"an operator in a path", "done", map[string]any{"a.$[]": int64(1)}, "done"},
		{"the _id", "done", map[string]any{"_id": "x"}, "done"},
		{"a field of the _id", "done", map[string]any{"_id.a": "x"}, "done"},
		{"no name", "done", map[string]any{"": "x"}, "done"},
		{"a path without an end", "done", map[string]any{"a.": "x"}, "done"},
		{"a field and one within it", "done", map[string]any{"a": "x", "a.b": "y"}, "done"},
		{"a bad reference", "done", map[string]any{"a": map[string]any{"b": "${dead_reason}"}}, "done.a.b"},
		{"no document", "done", "x", "done"},
		{"a decimal", "done", map[string]any{"a": Unsupported{Type: "decimal128"}}, "done.a"},
		{"an unknown field", "doen", map[string]any{}, "doen"},
	}
	for _, row := range rows {
		wb := edit(map[string]any{"collection": "orders", "id": "o1", "done": map[string]any{"state": "sent"}}, row.path, row.value)
		doc := document("fax", map[string]any{"n": int64(1), "operator": map[string]any{"$gt": ""}})
		doc["write_back"] = wb
		in := Parse(doc, testRules)
		if (row.where == "") != (len(in.Problems) == 0) || row.where != "" && in.Problems[0].Path != "write_back."+row.where {
			t.Errorf("%s: got %q, want a problem at %q", row.name, problems(in), row.where)
		}
		// Whatever is wrong is told instead of tried, when a malformed intent is settled all the same.
		_, update := in.Consequences(done("SM1"), testRules)
		if update != nil && (row.where == "") != (len(update.Problems) == 0) {
			t.Errorf("%s: at settling: got %+v", row.name, update)
		}
		if row.where == "" && update == nil {
			t.Errorf("%s: no update", row.name)
		}
	}
}

func TestFollowUpsByReason(t *testing.T) {
	when := func(reasons ...any) map[string]any { return fax("when", append([]any{}, reasons...)) }
	doc := document(KindSMS, smsPayload())
	doc["on_dead"] = []any{when("ambiguous"), when("permanent", "exhausted", "expired", "invalid"), fax()}
	doc["write_back"] = map[string]any{"collection": "orders", "id": "o1", "dead": map[string]any{"state": "failed"}, "ambiguous": map[string]any{"state": "checking", "why": "${dead_reason}"}}
	in := Parse(doc, testRules)
	if len(in.Problems) > 0 {
		t.Fatalf("%q", problems(in))
	}
	rows := []struct {
		reason DeadReason
		ids    string
		state  string
	}{
		{ReasonAmbiguous, "order-1:dead:0 order-1:dead:2", "checking"},
		{ReasonPermanent, "order-1:dead:1 order-1:dead:2", "failed"},
		{ReasonExhausted, "order-1:dead:1 order-1:dead:2", "failed"},
		{ReasonExpired, "order-1:dead:1 order-1:dead:2", "failed"},
		{ReasonInvalid, "order-1:dead:1 order-1:dead:2", "failed"},
	}
	for _, r := range rows {
		ups, update := in.Consequences(dead(r.reason, CodeNoAnswer), testRules)
		var ids []string
		for _, up := range ups {
			ids = append(ids, up.ID.String())
			if _, ok := up.Document["when"]; ok || len(up.Problems) > 0 {
				t.Errorf("%s: got %+v", r.reason, up)
			}
		}
		if got := strings.Join(ids, " "); got != r.ids || update.Set["state"] != r.state {
			t.Errorf("%s: got %s and %v", r.reason, got, update.Set)
		}
	}
	if _, update := in.Consequences(done("SM1"), testRules); update != nil {
		t.Errorf("done: got %+v", update)
	}

	// Without words for doubts, those for a death are taken; with empty ones, none are.
	delete(doc["write_back"].(map[string]any), "ambiguous")
	if _, update := Parse(doc, testRules).Consequences(dead(ReasonAmbiguous, CodeNoAnswer), testRules); update == nil || update.Set["state"] != "failed" {
		t.Errorf("without: got %+v", update)
	}
	doc["write_back"].(map[string]any)["ambiguous"] = map[string]any{}
	if _, update := Parse(doc, testRules).Consequences(dead(ReasonAmbiguous, CodeNoAnswer), testRules); update != nil {
		t.Errorf("empty: got %+v", update)
	}
}

func TestReasonsThatCannotBeRead(t *testing.T) {
	rows := []struct {
		name  string
		field string
		when  any
		path  string
	}{
		{"in on_done", "on_done", []any{"permanent"}, "when"},
		{"no list", "on_dead", "permanent", "when"},
		{"an empty list", "on_dead", []any{}, "when"},
		{"an unknown reason", "on_dead", []any{"permanent", "dead"}, "when.1"},
		{"a reference", "on_dead", []any{"${dead_reason}"}, "when.0"},
		{"a number", "on_dead", []any{int64(1)}, "when.0"},
	}
	for _, r := range rows {
		doc := document(KindSMS, smsPayload())
		f := fax()
		f["when"] = r.when
		doc[r.field] = []any{f}
		in := Parse(doc, testRules)
		if want := r.field + ".0." + r.path; len(in.Problems) != 1 || in.Problems[0].Path != want {
			t.Errorf("%s: got %q, want a problem at %s", r.name, problems(in), want)
		}
		if r.field == "on_done" {
			continue
		}
		// It is kept as a dead letter, whatever the reason is: nothing is lost for a typing error.
		ups, _ := in.Consequences(dead(ReasonInvalid, CodeInvalid), testRules)
		if len(ups) != 1 || len(ups[0].Problems) == 0 {
			t.Errorf("%s: at settling: got %+v", r.name, ups)
		}
	}
	// A nested one as well.
	doc := document(KindSMS, smsPayload())
	doc["on_done"] = []any{fax("on_dead", []any{fax("when", []any{"never"})})}
	if in := Parse(doc, testRules); len(in.Problems) != 1 || in.Problems[0].Path != "on_done.0.on_dead.0.when.0" {
		t.Errorf("nested: %q", problems(in))
	}
}

func TestARecordedOutcomeOnlyHasToBeWritten(t *testing.T) {
	receipt, failure := map[string]any{"provider": "twilio", "id": "SM1"}, map[string]any{"class": "permanent", "code": CodeOptedOut, "message": "m"}
	outcome := func(fields ...any) map[string]any {
		o := map[string]any{"event": "delivered", "class": "done", "attempts": int64(2), "at": testNow, "tries": int64(1), "why": "a lock", "receipt": receipt}
		for i := 0; i < len(fields); i += 2 {
			edit(o, fields[i].(string), fields[i+1])
		}
		return o
	}
	rows := []struct {
		name    string
		fields  map[string]any
		outcome map[string]any
		action  Action
		want    string
	}{
		{"done", nil, outcome(), Settle, "done, 2 given back, cleared, outcome done, receipt SM1"},
		{"dead", nil, outcome("receipt", missing, "event", "failed", "class", "permanent", "reason", "permanent", "failure", failure), Settle, "dead/permanent, 2 given back, outcome permanent, error " + CodeOptedOut},
		{"expired since", map[string]any{"expires_at": testNow}, outcome(), Settle, "done, 2 given back, cleared, outcome done, receipt SM1"},
		{"after a lease that ran out", map[string]any{"lease": map[string]any{"token": "t", "reclaimed": true}, "attempts": int64(9)}, outcome(), Settle, "done, 2 given back, cleared, outcome done, receipt SM1"},
		{"with a payload that breaks the contract", map[string]any{"payload": int64(1)}, outcome(), Settle, "done, 2 given back, cleared, outcome done, receipt SM1"},
		{"of an unknown event", nil, outcome("event", "perhaps"), Settle, "dead/invalid, 0 given back, outcome invalid, error invalid"},
		{"neither done nor dead", nil, outcome("receipt", missing), Settle, "dead/invalid, 0 given back, outcome invalid, error invalid"},
		{"both done and dead", nil, outcome("reason", "permanent"), Settle, "dead/invalid, 0 given back, outcome invalid, error invalid"},
	}
	p := Policy{Retry: RetryPolicy{MaxAttempts: 3, Base: time.Second, Max: time.Minute}, OnAmbiguous: Park}
	for _, r := range rows {
		doc := edit(document(KindSMS, smsPayload()), "outcome", r.outcome)
		doc["attempts"] = int64(1)
		maps.Copy(doc, r.fields)
		in := Parse(doc, testRules)
		action, verdict := Next(in, p, testNow)
		if action != r.action {
			t.Errorf("%s: action %v", r.name, action)
		}
		if got := told(in, p, Decide(in, verdict, p, testNow)); got != r.want {
			t.Errorf("%s:\n got %s\nwant %s", r.name, got, r.want)
		}
	}
}

// A claim that could not write a recorded outcome changes nothing of it, and none of the claims since was an attempt.
func TestARecordedOutcomeIsGivenBackAsItStands(t *testing.T) {
	p := Policy{Retry: RetryPolicy{MaxAttempts: 3, Base: time.Second, Max: time.Minute}, OnAmbiguous: Reconcile}
	inTheWay := &Failure{Class: Transient, Code: CodeNotSent}
	for _, asks := range []bool{false, true} {
		p.AsksFirst = asks
		for _, recorded := range []int64{0, 1, 2} {
			for _, claims := range []int64{1, 2, 7} {
				for _, reclaimed := range []bool{false, true} {
					for _, v := range []Verdict{{Event: Unsent}, {Event: Unsent, Failure: inTheWay}, {Event: Unsent, Wait: time.Hour}} {
						doc := document(KindSMS, smsPayload())
						doc["outcome"] = map[string]any{"event": "malformed", "class": "invalid", "reason": "invalid", "attempts": recorded, "at": testNow,
							"tries": int64(1), "failure": map[string]any{"class": "invalid", "code": CodeInvalid, "message": "m"}}
						doc["attempts"] = recorded + claims
						doc["lease"] = map[string]any{"token": "t", "reclaimed": reclaimed}
						in := Parse(doc, testRules)
						d := Decide(in, v, p, testNow)
						s := Settlement{Intent: in, Decision: d}
						if d.Status != StatusPending || d.Attempts != int(recorded) || d.Ambiguous != KeepMark || d.Failure != nil || len(s.Records()) > 0 || d.Delay > unsentDelay {
							t.Errorf("asks first %v, recorded after %d attempts, %d claims since, reclaimed %v, %+v: %+v with the records %+v", asks, recorded, claims, reclaimed, v, d, s.Records())
						}
					}
				}
			}
		}
	}
}
