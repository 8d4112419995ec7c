package page

import (
	"strings"
	"testing"
	"time"

	"github.com/outboxd/outboxd/outbox"
)

func TestTexts(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 27, 2, 14, 0, 0, time.UTC)
	at := func(text string) string {
		when, err := instant(text, now)
		if err != nil {
			return "refused"
		}
		return when.UTC().Format(time.RFC3339)
	}
	code := func(text string) string {
		var b strings.Builder
		if err := coded(text).Render(t.Context(), &b); err != nil {
			t.Error(err)
		}
		return b.String()
	}
	for _, c := range [][2]string{
		{money("eur", 1288410), "12,884.10 EUR"}, {money("jpy", 1500), "1,500 JPY"}, {money("bhd", 7), "0.007 BHD"}, {money("usd", 5), "0.05 USD"},
		{sums(map[string]int64{"usd": 9100, "eur": 1}), "0.01 EUR, 91.00 USD"}, {number(1234567), "1,234,567"}, {number(-100), "-100"},
		{took(41 * time.Millisecond), "41 ms"}, {took(78 * time.Second), "1 m 18 s"}, {took(26 * time.Hour), "26 h 0 m"}, {took(72 * time.Hour), "3 d 0 h"}, {age(now, time.Time{}), "–"},
		{clean("a\u202eb\x00c\u200d\u2028"), "a␦b␦c␦␦"}, {clean("Grüße, 東京 🎉"), "Grüße, 東京 🎉"},
		{at("6h"), "2026-11-26T20:14:00Z"}, {at("3d"), "2026-11-24T02:14:00Z"}, {at("2026-11-27"), "2026-11-27T00:00:00Z"}, {at("2026-11-27T02:00Z"), "2026-11-27T02:00:00Z"},
		{at("-1h"), "refused"}, {at("tomorrow"), "refused"}, {at("99999999999d"), "refused"},
		{code("answer with `outboxd resolve`"), "answer with <code>outboxd resolve</code>"}, {code("`<b>` ` x"), "<code>&lt;b&gt;</code> ` x"},
		{payloadText(map[string]any{"to": "x", "amount": int64(9007199254740993), "list": []any{"a", outbox.Fields{{Name: "b", Value: true}}}}), "amount: 9007199254740993\nlist:\n  1: a\n  2:\n    b: true\nto: x"},
		{finalWhy(outbox.Group{Kind: "sms", Reason: outbox.ReasonPermanent, Code: outbox.CodeOptedOut}, now), "the recipient has opted out (opted_out); do not send again"},
		{finalWhy(outbox.Group{Kind: "sms", Reason: outbox.ReasonExhausted, Code: "unavailable"}, now), ""},
	} {
		if c[0] != c[1] {
			t.Errorf("got %q, want %q", c[0], c[1])
		}
	}
	if long := clean(strings.Repeat("x", 5000)); len(long) != maxText+len("…") {
		t.Errorf("a long text has %d bytes", len(long))
	}
	deep := any("x")
	for range 100 {
		deep = map[string]any{"a": deep}
	}
	if text := payloadText(deep); strings.Count(text, "\n") > maxDepth+1 {
		t.Errorf("a deep payload: %s", text)
	}
}
