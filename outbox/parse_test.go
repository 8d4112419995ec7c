package outbox

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
)

var testRules = Rules{WriteBack: []string{"orders"}}

// Small valid payloads of each kind.
func chargePayload() map[string]any {
	return map[string]any{"amount": int64(1999), "currency": "eur", "customer": "cus_1", "payment_method": "pm_1"}
}

func emailPayload() map[string]any {
	return map[string]any{"from": "shop@example.com", "to": "kim@example.com", "subject": "Thanks", "text": "It is on its way."}
}

func smsPayload() map[string]any {
	return map[string]any{"to": "+4915112345678", "from": "+15550001111", "body": "Your code is 4711"}
}

func document(kind string, payload map[string]any) map[string]any {
	return map[string]any{"_id": "order-1", "kind": kind, "status": "pending", "due_at": testNow, "payload": payload}
}

// edit returns the document with the value at a path with dots changed; a change to missing removes it.
func edit(doc map[string]any, path string, value any) map[string]any {
	at := doc
	steps := strings.Split(path, ".")
	for _, step := range steps[:len(steps)-1] {
		next, ok := at[step].(map[string]any)
		if !ok {
			next = map[string]any{}
			at[step] = next
		}
		at = next
	}
	if value == missing {
		delete(at, steps[len(steps)-1])
	} else {
		at[steps[len(steps)-1]] = value
	}
	return doc
}

var missing = new("missing")

func problems(in *Intent) []string {
	var list []string
	for _, p := range in.Problems {
		list = append(list, p.String())
	}
	return list
}

func TestParseSmallestDocuments(t *testing.T) {
	for kind, payload := range map[string]map[string]any{
		KindCharge: chargePayload(), KindEmail: emailPayload(), KindSMS: smsPayload(), "fax": {"anything": []any{nil, true, 1.5}},
	} {
		in := Parse(document(kind, payload), Rules{})
		if len(in.Problems) > 0 {
			t.Errorf("%s: %q", kind, problems(in))
		}
		if in.ID != NewStringID("order-1") || in.Kind != kind || in.Status != StatusPending || !in.DueAt.Equal(testNow) || in.Priority != 1 {
			t.Errorf("%s: got %+v", kind, in)
		}
		var got any
		switch p := in.Payload.(type) {
		case *Charge:
			got = p.Amount == 1999 && p.Currency == "eur" && p.Customer == "cus_1" && p.PaymentMethod == "pm_1"
		case *Email:
			got = p.From.Email == "shop@example.com" && p.To.Email == "kim@example.com" && p.Subject == "Thanks" && p.Text != ""
		case *SMS:
			got = p.To == "+4915112345678" && p.From == "+15550001111" && p.Body != ""
		case map[string]any:
			got = kind == "fax"
		}
		if got != true {
			t.Errorf("%s: the payload is %+v", kind, in.Payload)
		}
	}
}

func TestParseReadsEverything(t *testing.T) {
	at := func(n int) time.Time { return testNow.Add(time.Duration(n) * time.Minute) }
	doc := document(KindSMS, smsPayload())
	for path, value := range map[string]any{
		"_id": NewObjectID([12]byte{1}), "v": 1.0, "status": "leased", "expires_at": at(1), "priority": 0.0, "dedup_key": "d", "max_attempts": 7.0,
		"on_ambiguous": "reconcile", "metadata": map[string]any{"tenant": "t1", "empty": ""}, "trace": map[string]any{"traceparent": "00-a", "tracestate": "s"},
		"created_at": at(2), "attempts": int64(3), "lease": map[string]any{"token": "t", "owner": "w", "at": at(3), "reclaimed": true},
		"first_attempt_at": at(4), "ambiguous_at": at(5), "generation": int64(2), "progress": map[string]any{"payment_intent": "pi_1"},
		"history":    []any{map[string]any{"attempt": int64(1), "at": at(6), "ms": int64(1500), "outcome": "transient", "code": "not_sent", "worker": "w"}},
		"last_error": map[string]any{"code": "not_sent"}, "result": map[string]any{"id": "SM1"}, "done_at": at(7), "dead_at": at(7), "cancelled_at": at(7), "purge_at": at(7),
		"dead_reason": "exhausted",
		"write_back":  map[string]any{"collection": "orders", "id": "o1", "done": map[string]any{"state": "sent"}, "dead": map[string]any{"a.b": "${dead_reason}"}},
		"on_done":     []any{map[string]any{"kind": "sms", "payload": smsPayload(), "delay_seconds": 60.0}},
		"on_dead":     []any{map[string]any{"kind": "email", "payload": emailPayload()}},
	} {
		edit(doc, path, value)
	}
	in := Parse(doc, testRules)
	if len(in.Problems) > 0 {
		t.Fatalf("%q", problems(in))
	}
	rows := []struct {
		field     string
		got, want any
	}{
		{"_id", in.ID, NewObjectID([12]byte{1})}, {"status", in.Status, StatusLeased}, {"expires_at", in.ExpiresAt, at(1)},
		{"priority", in.Priority, 0}, {"dedup_key", in.DedupKey, "d"}, {"max_attempts", in.MaxAttempts, 7}, {"on_ambiguous", in.OnAmbiguous, Reconcile},
		{"metadata", fmt.Sprint(in.Metadata), "map[empty: tenant:t1]"}, {"trace", in.Trace, Trace{"00-a", "s"}}, {"attempts", in.Attempts, 3},
		{"lease", in.Lease, Lease{"t", "w", at(3), true}}, {"first_attempt_at", in.FirstAttemptAt, at(4)}, {"ambiguous_at", in.AmbiguousAt, at(5)},
		{"generation", in.Generation, 2}, {"progress", in.Progress["payment_intent"], "pi_1"},
		{"history", in.History[0], Record{What: WhatAttempt, Attempt: 1, At: at(6), Took: 1500 * time.Millisecond, Outcome: Transient, Code: "not_sent", Worker: "w"}},
		{"write_back", in.WriteBack.Collection, "orders"}, {"on_done", len(in.OnDone), 1}, {"on_dead", len(in.OnDead), 1}, {"last_error", in.lastCode(), "not_sent"},
	}
	for _, r := range rows {
		if r.got != r.want {
			t.Errorf("%s: got %v, want %v", r.field, r.got, r.want)
		}
	}
}

// TestParseRules breaks each rule of the contract once; the path of the one problem is that of the field.
func TestParseRules(t *testing.T) {
	decimal := Unsupported{Type: "decimal128"}
	long := func(n int) string { return strings.Repeat("é", n) }
	many := func(n int, v any) []any { return slices.Repeat([]any{v}, n) }
	keys := func(n int) map[string]any {
		m := map[string]any{}
		for i := range n {
			m["k"+itoa(i)] = "v"
		}
		return m
	}
	rows := []struct {
		kind  string
		path  string
		bad   []any
		good  []any
		where string // where the problem stands, if not at path
	}{
		{KindSMS, "_id", []any{missing, "", strings.Repeat("a", 201), nil, int64(1), decimal, ID{}, NewStringID("")}, []any{"a", strings.Repeat("a", 200), NewUUID([16]byte{1})}, ""},
		{KindSMS, "v", []any{0.0, int64(2), 1.5, "1", decimal, math.NaN()}, []any{nil, int64(1), 1.0}, ""},
		{"fax", "kind", []any{missing, "", nil, int64(1)}, nil, ""},
		{KindSMS, "status", []any{missing, "", "Pending", nil, true}, []any{"leased", "done", "dead", "cancelled"}, ""},
		{KindSMS, "due_at", []any{missing, "2026-01-01", int64(0), nil}, nil, ""},
		{KindSMS, "expires_at", []any{"2026-01-01", int64(0)}, []any{nil, testNow}, ""},
		{KindSMS, "priority", []any{int64(-1), int64(4), 0.5, "1", decimal, math.Inf(1), 1e300}, []any{nil, int64(0), 3.0}, ""},
		{KindSMS, "ordering_key", []any{"a", nil}, nil, ""},
		{KindSMS, "dedup_key", []any{"", int64(1)}, []any{nil, "k"}, ""},
		{KindSMS, "max_attempts", []any{int64(0), int64(101), 2.5, "3", decimal, math.NaN()}, []any{nil, int64(1), 100.0}, ""},
		{KindSMS, "on_ambiguous", []any{"", "Retry", "give_up", true}, []any{nil, "retry", "reconcile", "park"}, ""},
		{KindSMS, "metadata", []any{"a", []any{}}, []any{nil, map[string]any{}}, ""},
		{KindSMS, "metadata.k", []any{int64(1), decimal, map[string]any{}}, []any{nil, ""}, ""},
		{KindSMS, "metadata.outbox_id", []any{"a"}, nil, ""},
		{KindSMS, "metadata.outbox_ns", []any{"a"}, nil, ""},
		{KindSMS, "metadata.outbox_key", []any{"a"}, nil, ""},
		{KindSMS, "trace", []any{"a"}, []any{nil, map[string]any{}}, ""},
		{KindSMS, "trace.traceparent", []any{""}, []any{nil, "00"}, ""},
		{KindSMS, "trace.parent", []any{"a"}, nil, ""},
		{KindSMS, "created_at", []any{"a"}, []any{nil, testNow}, ""},
		{KindSMS, "payload", []any{missing, nil, "a", []any{}}, nil, ""},
		{KindSMS, "on_ambigous", []any{"park", nil}, nil, ""},
		{"fax", "payload.deep", []any{decimal, []any{decimal}}, []any{[]any{nil, 1.5}}, "payload.deep"},

		{KindSMS, "attempts", []any{int64(-1), 1.5, "1", nil}, []any{int64(0), 7.0}, ""},
		{KindSMS, "lease", []any{nil, "a"}, nil, ""},
		{KindSMS, "lease.token", []any{"", int64(1)}, []any{"t"}, ""},
		{KindSMS, "first_attempt_at", []any{nil, "a"}, []any{testNow}, ""},
		{KindSMS, "ambiguous_at", []any{nil, "a"}, []any{testNow}, ""},
		{KindSMS, "generation", []any{int64(-1), nil}, []any{int64(3)}, ""},
		{KindSMS, "progress", []any{nil, "a"}, []any{map[string]any{"a": decimal, "b": "x"}}[:0], ""},
		{KindSMS, "history", []any{nil, "a"}, []any{[]any{}}, ""},
		{KindSMS, "history", []any{[]any{"a"}}, nil, "history.0"},
		{KindSMS, "history", []any{[]any{map[string]any{}}}, nil, "history.0.attempt"},
		{KindSMS, "last_error", []any{nil, "a"}, []any{map[string]any{}}, ""},
		{KindSMS, "done_at", []any{nil, "a"}, []any{testNow}, ""},
		{KindSMS, "dead_reason", []any{nil, ""}, []any{"expired"}, ""},

		{KindCharge, "payload.amount", []any{missing, int64(0), int64(-1), 19.99, "1999", nil, decimal, math.NaN(), math.Inf(-1), 1e300, int64(100_000_000), int64(49)}, []any{int64(50), 1999.0, int64(99_999_999)}, ""},
		{KindCharge, "payload.currency", []any{missing, "EUR", "euro", "", "e1r", nil}, []any{"usd"}, ""},
		{KindCharge, "payload.customer", []any{missing, "", nil, int64(1)}, nil, ""},
		{KindCharge, "payload.payment_method", []any{missing, "", nil}, nil, ""},
		{KindCharge, "payload.description", []any{""}, []any{nil, "d"}, ""},
		{KindCharge, "payload.statement_descriptor_suffix", []any{"", long(23)}, []any{long(22)}, ""},
		{KindCharge, "payload.receipt_email", []any{"", "kim", "a b@c", "@c", "a@"}, []any{nil, "kim@example.com", strings.Repeat("a", 320) + "@c"}, ""},
		{KindCharge, "payload.metadata", []any{"a", keys(48)}, []any{nil, keys(47)}, ""},
		{KindCharge, "payload.metadata.k", []any{int64(1), long(501)}, []any{long(500)}, ""},
		{KindCharge, "payload.metadata." + strings.Repeat("k", 41), []any{"v"}, nil, "payload.metadata.?"},
		{KindCharge, "payload.metadata." + strings.Repeat("ü", 21), []any{"v"}, nil, "payload.metadata.?"},
		{KindCharge, "payload.metadata.", []any{"v"}, nil, "payload.metadata.?"},
		{KindCharge, "payload.metadata.outbox_id", []any{"v"}, nil, ""},
		{KindCharge, "payload.metadata.outbox_ns", []any{"v"}, nil, ""},
		{KindCharge, "payload.metadata.outbox_key", []any{"v"}, nil, ""},
		{KindCharge, "payload.account", []any{""}, []any{"acct_1"}, ""},
		{KindCharge, "payload.ammount", []any{int64(1)}, nil, ""},

		{KindEmail, "payload.from", []any{missing, "", "shop", nil, int64(1), []any{}}, []any{map[string]any{"email": "a@b", "name": "A"}}, ""},
		{KindEmail, "payload.to", []any{missing, "kim", []any{"kim@example.com"}}, []any{"a@b"}, ""},
		{KindEmail, "payload.to", []any{map[string]any{}, map[string]any{"email": "kim"}}, nil, "payload.to.email"},
		{KindEmail, "payload.to", []any{map[string]any{"email": "a@b", "nmae": "K"}}, nil, "payload.to.nmae"},
		{KindEmail, "payload.subject", []any{missing, "", nil}, nil, ""},
		{KindEmail, "payload.text", []any{missing, "", nil}, nil, ""},
		{KindEmail, "payload.html", []any{""}, []any{nil, "<p>"}, ""},
		{KindEmail, "payload.template_id", []any{""}, []any{nil, "d-1"}, ""},
		{KindEmail, "payload.template_data", []any{map[string]any{}}, nil, ""},
		{KindEmail, "payload.reply_to", []any{"kim"}, []any{nil, "a@b"}, ""},
		{KindEmail, "payload.cc", []any{"a@b", map[string]any{}, many(1000, "a@b")}, []any{nil, []any{"a@b", map[string]any{"email": "c@d"}}, many(999, "a@b")}, ""},
		{KindEmail, "payload.bcc", []any{[]any{"a@b", "kim"}}, nil, "payload.bcc.1"},
		{KindEmail, "payload.categories", []any{"a", many(11, "a")}, []any{nil, many(10, "a"), []any{}}, ""},
		{KindEmail, "payload.categories", []any{[]any{""}, []any{int64(1)}, []any{nil}}, nil, "payload.categories.0"},
		{KindEmail, "payload.attachments", []any{map[string]any{}}, []any{nil, []any{}}, ""},
		{KindEmail, "payload.attachments", []any{[]any{"a"}}, nil, "payload.attachments.0"},
		{KindEmail, "payload.attachments", []any{[]any{map[string]any{"filename": "f"}}}, []any{[]any{map[string]any{"content": "YQ==", "filename": "f", "type": "text/plain", "disposition": "inline", "content_id": "c"}}}, "payload.attachments.0.content"},
		{KindEmail, "payload.attachments", []any{[]any{map[string]any{"content": "YQ==", "filename": "f", "disposition": "x"}}}, nil, "payload.attachments.0.disposition"},
		{KindEmail, "payload.attachments", []any{[]any{map[string]any{"content": "YQ==", "filename": "f", "size": int64(1)}}}, nil, "payload.attachments.0.size"},

		{KindSMS, "payload.to", []any{missing, "", "4915112345678", "+0151", "+49 151", "+", "+4915112345678901", nil, int64(4915112345678)}, []any{"+15"}, ""},
		{KindSMS, "payload.from", []any{missing, "", "12", "123456789", "+1 555", "ABCDEFGHIJKL", "Ünï", nil}, []any{"12345", "Shop 24", "+15550001111"}, ""},
		{KindSMS, "payload.messaging_service_sid", []any{"MG1"}, []any{nil}, "payload.messaging_service_sid"},
		{KindSMS, "payload.body", []any{missing, "", long(1601), nil}, []any{long(1600)}, ""},
		{KindSMS, "payload.media_urls", []any{"https://a", many(11, "https://a")}, []any{nil, many(10, "https://a/b.png"), []any{}}, ""},
		{KindSMS, "payload.media_urls", []any{[]any{"ftp://a"}, []any{"https://"}, []any{"https://a b"}, []any{nil}}, nil, "payload.media_urls.0"},
		{KindSMS, "payload.validity_seconds", []any{int64(0), int64(36001), 1.5}, []any{nil, int64(1), 36000.0}, ""},
	}
	payloads := map[string]func() map[string]any{KindCharge: chargePayload, KindEmail: emailPayload, KindSMS: smsPayload, "fax": func() map[string]any { return map[string]any{} }}
	for _, row := range rows {
		for _, good := range row.good {
			if in := Parse(edit(document(row.kind, payloads[row.kind]()), row.path, good), testRules); len(in.Problems) > 0 {
				t.Errorf("%s = %.60v: %q", row.path, good, problems(in))
			}
		}
		for _, bad := range row.bad {
			in := Parse(edit(document(row.kind, payloads[row.kind]()), row.path, bad), testRules)
			where := row.where
			if where == "" {
				where = row.path
			}
			at := slices.IndexFunc(in.Problems, func(p Problem) bool { return p.Path == where || strings.HasPrefix(p.Path, where+".0") })
			if at < 0 {
				t.Errorf("%s = %.60v: got %q, want a problem at %s", row.path, bad, problems(in), where)
			}
			if action, _ := Next(in, testPolicy(Retry, true), testNow); action != Settle {
				t.Errorf("%s = %.60v: it is sent", row.path, bad)
			}
		}
	}
}

func TestParseRulesAcrossFields(t *testing.T) {
	sid := "MG" + strings.Repeat("0a", 16)
	rows := []struct {
		name    string
		kind    string
		payload map[string]any
		want    string // the one problem's path; empty: none
	}{
		{"a service instead of a sender", KindSMS, map[string]any{"to": "+15550001111", "messaging_service_sid": sid, "body": "b"}, ""},
		{"a service and a sender", KindSMS, map[string]any{"to": "+15550001111", "messaging_service_sid": sid, "from": "+15550001111", "body": "b"}, "payload.from"},
		{"media without a body", KindSMS, map[string]any{"to": "+15550001111", "from": "+15550001111", "media_urls": []any{"https://a"}}, ""},
		{"no media and no body", KindSMS, map[string]any{"to": "+15550001111", "from": "+15550001111", "media_urls": []any{}}, "payload.body"},
		{"a template alone", KindEmail, map[string]any{"from": "a@b", "to": "c@d", "template_id": "d-1"}, ""},
		{"a template with data", KindEmail, map[string]any{"from": "a@b", "to": "c@d", "template_id": "d-1", "template_data": map[string]any{"name": "Kim"}}, ""},
		{"data that a template cannot take", KindEmail, map[string]any{"from": "a@b", "to": "c@d", "template_id": "d-1", "template_data": map[string]any{"sum": Unsupported{Type: "decimal128"}}}, "payload.template_data.sum"},
		{"html alone", KindEmail, map[string]any{"from": "a@b", "to": "c@d", "subject": "s", "html": "<p>"}, ""},
		{"data without a template", KindEmail, map[string]any{"from": "a@b", "to": "c@d", "subject": "s", "text": "t", "template_data": map[string]any{}}, "payload.template_data"},
		{"recipients together", KindEmail, map[string]any{"from": "a@b", "to": "c@d", "subject": "s", "text": "t", "cc": slices.Repeat([]any{"a@b"}, 500), "bcc": slices.Repeat([]any{"a@b"}, 500)}, "payload.to"},
	}
	for _, row := range rows {
		in := Parse(document(row.kind, row.payload), Rules{})
		if row.want == "" && len(in.Problems) > 0 || row.want != "" && (len(in.Problems) != 1 || in.Problems[0].Path != row.want) {
			t.Errorf("%s: got %q, want a problem at %q", row.name, problems(in), row.want)
		}
	}
}

// secret stands in every value that a document could leak.
const secret = "4242secret"

func TestProblemsNameFieldsAndNeverValues(t *testing.T) {
	doc := document(KindSMS, smsPayload())
	for _, path := range []string{"v", "status", "due_at", "expires_at", "priority", "max_attempts", "on_ambiguous", "metadata", "trace", "created_at",
		"attempts", "lease", "history", "payload.to", "payload.from", "payload.validity_seconds", "payload.media_urls", "on_done", "write_back"} {
		in := Parse(edit(maps.Clone(doc), path, secret+"\x1b[31m"), testRules)
		if len(in.Problems) == 0 || strings.Contains(fmt.Sprint(in.Problems), secret) {
			t.Errorf("%s: %q", path, problems(in))
		}
	}
	for _, text := range []string{"${" + secret + "}", "${payload." + secret + " x}", "${" + secret, "x ${payload.491511234567}", "x ${payload.missing.+4915112345678}"} {
		doc := document(KindSMS, smsPayload())
		doc["on_done"] = []any{map[string]any{"kind": "sms", "payload": edit(smsPayload(), "body", text)}}
		in := Parse(doc, testRules)
		if len(in.Problems) != 1 || in.Problems[0].Path != "on_done.0.payload.body" || strings.Contains(fmt.Sprint(in.Problems), "42") || strings.Contains(fmt.Sprint(in.Problems), "4915") {
			t.Errorf("%s: %q", text, problems(in))
		}
	}
}

func TestParseHostileDocuments(t *testing.T) {
	deep := any("bottom")
	for range 5000 {
		deep = map[string]any{"d": []any{deep}}
	}
	huge := strings.Repeat("k\x00\u2028\x9b", 1<<18)
	wide := map[string]any{}
	for i := range 100_000 {
		wide["k"+itoa(i)] = Unsupported{Type: "regex"}
	}
	followUps := any([]any{})
	for range 50 {
		followUps = []any{map[string]any{"kind": "sms", "payload": smsPayload(), "on_done": followUps, "on_dead": followUps}}
	}
	bomb := edit(smsPayload(), "body", strings.Repeat("x", 1<<20))
	rows := map[string]map[string]any{
		"nothing":           nil,
		"empty":             {},
		"a huge name":       edit(document(KindSMS, smsPayload()), huge, 1),
		"huge names":        document("fax", map[string]any{huge: map[string]any{huge: wide}}),
		"wide":              document(KindSMS, wide),
		"deep":              document("fax", map[string]any{"a": deep}),
		"deep and bad":      edit(document(KindSMS, smsPayload()), "progress", map[string]any{"a": deep, "b": Unsupported{Type: secret + huge}}),
		"deep follow-ups":   edit(document(KindSMS, smsPayload()), "on_done", followUps),
		"deep references":   edit(document(KindSMS, smsPayload()), "on_done", []any{map[string]any{"kind": "fax", "payload": deep}}),
		"a swelling text":   edit(document("fax", bomb), "on_done", []any{map[string]any{"kind": "fax", "payload": map[string]any{"a": strings.Repeat("${payload.body}", 100_000)}}}),
		"a swelling list":   edit(document("fax", bomb), "on_dead", []any{map[string]any{"kind": "fax", "payload": map[string]any{"a": slices.Repeat([]any{"${payload.body}"}, 100_000)}}}),
		"a swelling update": edit(document("fax", bomb), "write_back", map[string]any{"collection": "orders", "id": "o", "done": map[string]any{"a": slices.Repeat([]any{"${payload.body}"}, 100_000)}}),
		"a path of dots":    edit(document("fax", nil), "write_back", map[string]any{"collection": "orders", "id": "o", "done": map[string]any{strings.Repeat("a.", 1<<20) + "a": 1}}),
	}
	for name, doc := range rows {
		start := time.Now()
		in := Parse(doc, testRules)
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%s: took %v", name, took)
		}
		if err := presentable(in.Problems); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if name != "deep" && name != "deep references" && len(in.Problems) == 0 {
			t.Errorf("%s: no problem", name)
		}
	}
}

// presentable returns why problems may not stand in a log or a document.
func presentable(list []Problem) error {
	if len(list) > maxProblems {
		return fmt.Errorf("%d problems", len(list))
	}
	for _, p := range list {
		if s := p.String(); len(s) > 500 || strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsPrint(c) }) {
			return fmt.Errorf("a problem of %d bytes, %q", len(s), s[:min(len(s), 500)])
		}
	}
	return nil
}

func TestProblemsOfADocumentAreAlwaysTheSame(t *testing.T) {
	build := func() map[string]any {
		bad := map[string]any{"kind": "fax", "payload": map[string]any{"a": "${x}", "b": "${y}", "c": []any{"${z}"}}, "metadata": map[string]any{"m": "${payload.no}"}}
		return edit(edit(edit(document("fax", map[string]any{"z": Unsupported{Type: "t"}, "y": Unsupported{Type: "t"}}), "on_done", []any{bad}), "on_dead", []any{bad}), "extra", 1)
	}
	want := problems(Parse(build(), testRules))
	for range 20 {
		if got := problems(Parse(build(), testRules)); !slices.Equal(got, want) {
			t.Fatalf("got %q, then %q", want, got)
		}
	}
}

// A field's name is shown, unless it looks like what must not be: then its place alone is.
func TestProblemsShowPlainNamesAlone(t *testing.T) {
	for name, want := range map[string]string{
		"on_ambigous": "payload.on_ambigous", "$set": "payload.$set", "a-1": "payload.a-1", "123": "payload.123",
		"reader@private.example": "payload.?.example", "+4915112345678": "payload.?", "4915112345678": "payload.?", "Ann Reader": "payload.?", "a\nb": "payload.?", strings.Repeat("k", 41): "payload.?",
	} {
		payload := smsPayload()
		payload[name] = "x"
		in := Parse(document(KindSMS, payload), testRules)
		if len(in.Problems) != 1 || in.Problems[0].Path != want {
			t.Errorf("%q: %q, want a problem at %s", name, problems(in), want)
		}
	}
	doc := document("fax", map[string]any{"reader@private.example": map[string]any{"+4915112345678": Unsupported{Type: "decimal"}}})
	if in := Parse(doc, testRules); len(in.Problems) != 1 || strings.Contains(in.Problems[0].String(), "private") || strings.Contains(in.Problems[0].String(), "49") {
		t.Errorf("%q", problems(in))
	}
}
