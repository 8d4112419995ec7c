package outbox

import (
	"encoding/binary"
	"maps"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

// FuzzDecide holds the invariants of Next and Decide over everything that can be claimed and learned.
func FuzzDecide(f *testing.F) {
	f.Add(1, 0, int64(0), int64(0), false, false, uint8(0), uint8(Failed), string(Transient), int64(0), "c", 3, uint8(0))
	f.Add(3, 2, int64(time.Minute), int64(0), true, true, uint8(1), uint8(Failed), string(Ambiguous), int64(time.Second), "", 0, uint8(3))
	f.Add(4, 5, int64(0), int64(-1), true, false, uint8(2), uint8(Abandoned), "", int64(0), "", 100, uint8(1))
	f.Add(50, 1, int64(time.Hour), int64(1), false, true, uint8(1), uint8(LookUpFailed), string(RateLimited), int64(math.MaxInt64), "", 12, uint8(7))
	f.Add(math.MaxInt32, math.MaxInt32, int64(-1), int64(math.MinInt64), true, false, uint8(9), uint8(Absent), "novel", int64(-1), CodeKeyReused, -1, uint8(255))
	f.Fuzz(func(t *testing.T, attempts, recorded int, marked, expires int64, reclaimed, asks bool, policy, event uint8, class string,
		retryAfter int64, code string, most int, more uint8) {
		p := testPolicy([]Ambiguity{Retry, Reconcile, Park, ""}[policy%4], asks)
		if more&1 > 0 {
			p.Retry, p.Reconcile = RetryPolicy{MaxAttempts: most}, ReconcilePolicy{} // as no configuration can be
		}
		in := claimed{attempts: between(attempts, 0, math.MaxInt32), history: []Record{{Attempt: between(recorded, 0, math.MaxInt32), At: testNow, Outcome: Ambiguous}},
			max: between(most, 0, 100), reclaimed: reclaimed, marked: time.Duration(marked)}.intent()
		if expires != 0 {
			in.ExpiresAt = testNow.Add(time.Duration(expires))
		}
		if more&2 > 0 {
			in.Problems = []Problem{{"kind", "is required"}}
		}
		v := Verdict{Event: Event(event), Receipt: Receipt{ID: "1"}}
		if more&4 > 0 {
			v.Failure = &Failure{Class: Class(class), Code: code, RetryAfter: time.Duration(retryAfter), LaneOpen: more&8 > 0}
		}
		v.Probe, v.Alone = more&16 > 0, more&32 > 0
		if more&64 > 0 {
			in.FirstAttemptAt = testNow.Add(-DefaultGiveUp)
		}
		before := *in

		action, settled := Next(in, p, testNow)
		if action == Send {
			switch {
			case in.Expired(testNow):
				t.Error("an expired intent is sent")
			case len(in.Problems) > 0:
				t.Error("an intent with problems is sent")
			case in.Attempts > p.maxAttempts(in):
				t.Error("an intent without an attempt left is sent")
			case in.unknown() && !asks && p.ambiguity(in) != Retry:
				t.Error("an intent whose earlier attempt is unknown is sent")
			}
		}
		if action == LookUp && !in.unknown() {
			t.Error("a look-up without a doubt")
		}
		if (action == Settle) != (settled.Event != 0) {
			t.Error("an action that settles without a verdict, or a verdict without that action")
		}
		for _, v := range []Verdict{v, settled} {
			d := Decide(in, v, p, testNow)
			if err := sound(in, v, p, testNow, d); err != nil {
				t.Errorf("%s: %v: %s", events[v.Event], err, told(in, p, d))
			}
			if again := Decide(in, v, p, testNow); !reflect.DeepEqual(d, again) {
				t.Error("the same question is decided differently")
			}
		}
		if !reflect.DeepEqual(before, *in) {
			t.Error("the intent was changed")
		}
	})
}

func between(n, least, most int) int { return max(least, min(n, most)) }

// words are names and texts that mean something to Parse, so that random documents get further than the first problem.
var words = []string{"_id", "v", "kind", "status", "due_at", "payload", "expires_at", "priority", "ordering_key", "dedup_key", "max_attempts", "on_ambiguous",
	"on_done", "on_dead", "write_back", "collection", "id", "done", "dead", "metadata", "outbox_id", "trace", "attempts", "lease", "token", "reclaimed",
	"history", "attempt", "progress", "result", "last_error", "code", "charge", "email", "sms", "pending", "leased", "retry", "park", "amount", "currency", "customer",
	"payment_method", "from", "to", "subject", "text", "html", "template_id", "template_data", "cc", "attachments", "content", "filename", "body", "media_urls",
	"messaging_service_sid", "delay_seconds", "eur", "a@b", "+15550001111", "https://a", "orders", "${payload.amount}", "${_id}", "${result.id}", "$${", "x ${dead_reason}",
	"${payload.payload}", "$inc", "_id.a", "a.b", "", "\x00\x1b[31m\u2028"}

// grow builds a value out of bytes.
func grow(data *[]byte, depth int) any {
	next := func() byte {
		if len(*data) == 0 {
			return 0
		}
		b := (*data)[0]
		*data = (*data)[1:]
		return b
	}
	number := func() uint64 {
		var b [8]byte
		for i := range b {
			b[i] = next()
		}
		return binary.LittleEndian.Uint64(b[:])
	}
	word := func() string {
		if n := int(next()); n < len(words) {
			return words[n]
		} else {
			n = min(n-len(words), len(*data))
			s := string((*data)[:n])
			*data = (*data)[n:]
			return s
		}
	}
	switch kind := next() % 16; {
	case kind < 6 && depth < 12:
		doc := map[string]any{}
		for range next() % 24 {
			doc[word()] = grow(data, depth+1)
		}
		return doc
	case kind < 8 && depth < 12:
		list := []any{}
		for range next() % 20 {
			list = append(list, grow(data, depth+1))
		}
		return list
	case kind == 8:
		return int64(next())
	case kind == 9:
		return int64(number())
	case kind == 10:
		return math.Float64frombits(number())
	case kind == 11:
		return time.Unix(int64(number()>>20), 0)
	case kind == 12:
		return Unsupported{Type: word()}
	case kind == 13:
		return []any{nil, true, false, NewObjectID([12]byte{1}), ID{}, NewUUID([16]byte{2})}[next()%6]
	default:
		return word()
	}
}

// FuzzParse parses documents of any shape, sends them through Next, and settles them.
func FuzzParse(f *testing.F) {
	f.Add([]byte{}, uint8(0))
	f.Add([]byte("\x00\x10aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), uint8(1))
	f.Add([]byte{0, 3, 12, 6, 1, 0, 4, 2, 14, 34, 5, 0, 1, 54, 14, 65, 14, 0, 2, 2, 14, 34, 5, 0, 1, 54, 14, 65}, uint8(2))
	f.Add([]byte{0, 4, 14, 0, 3, 15, 14, 70, 16, 14, 63, 17, 0, 1, 68, 14, 64, 12, 6, 2, 0, 1, 2, 14, 34}, uint8(3))
	f.Fuzz(func(t *testing.T, data []byte, base uint8) {
		doc := map[string]any{}
		switch base % 4 { // a random document, or one that is changed in places
		case 1:
			doc = document(KindCharge, chargePayload())
		case 2:
			doc = document(KindEmail, emailPayload())
		case 3:
			doc = document(KindSMS, smsPayload())
		}
		for len(data) > 0 {
			grown, isDoc := grow(&data, 0).(map[string]any)
			maps.Copy(doc, grown)
			if !isDoc || len(grown) == 0 {
				break
			}
		}
		in := Parse(doc, testRules)
		if err := presentable(in.Problems); err != nil {
			t.Error(err)
		}
		if action, _ := Next(in, testPolicy(Retry, true), testNow); action == Send && len(in.Problems) > 0 {
			t.Error("an intent with problems is sent")
		}
		for _, d := range []Decision{done("SM1"), dead(ReasonInvalid, CodeInvalid), {Status: StatusDead, Reason: ReasonAmbiguous}} {
			ups, update := in.Consequences(d, testRules)
			if len(ups) > maxFollowUps {
				t.Errorf("%d follow-ups", len(ups))
			}
			for _, up := range ups {
				if up.Delay < 0 || up.Document["status"] != "pending" || up.Document["_id"] != up.ID.String() {
					t.Errorf("a follow-up %+v", up)
				}
				if err := presentable(up.Problems); err != nil {
					t.Error(err)
				}
				child := Parse(edit(up.Document, "due_at", testNow), testRules)
				if len(up.Problems) == 0 && len(child.Problems) > 0 {
					t.Errorf("a follow-up without problems has some as an intent: %q", problems(child))
				}
			}
			if update != nil {
				if err := presentable(update.Problems); err != nil {
					t.Error(err)
				}
				if len(update.Problems) == 0 && (update.ID == nil || len(update.Set) == 0) {
					t.Errorf("an update of nothing: %+v", update)
				}
			}
		}
	})
}

// FuzzReferences resolves any text.
func FuzzReferences(f *testing.F) {
	for _, text := range []string{"", "${_id}", "a $${ ${payload.n}", "${payload.list.1.k}", "${", "$$${}}", "${payload.doc}x", "${payload.\x00}"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, bad := newResolver(testScope()).resolve("field", text)
		switch {
		case bad != nil:
			if err := presentable([]Problem{{bad.path, bad.text}}); err != nil {
				t.Error(err)
			}
			if !strings.Contains(text, "${") {
				t.Error("a text without a reference is refused")
			}
		case !strings.Contains(text, "${") && got != text:
			t.Errorf("%q became %v", text, got)
		}
		// A text written as a literal comes out as it was.
		if literal, bad := newResolver(testScope()).resolve("field", strings.ReplaceAll(text, "${", "$${")); bad != nil || literal != text {
			t.Errorf("%q as a literal became %v, %v", text, literal, bad)
		}
	})
}
