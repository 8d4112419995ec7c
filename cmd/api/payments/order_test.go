package payments

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"github.com/outboxd/outboxd/outbox"
)

var senders = Senders{Email: "receipts@shop.example", Phone: "+15005550006"}

// plain turns a document into what outbox.Parse reads.
func plain(t interface{ Fatalf(string, ...any) }, v bson.RawValue) any {
	switch v.Type {
	case bson.TypeString:
		return v.StringValue()
	case bson.TypeInt64:
		return v.Int64()
	case bson.TypeInt32:
		return int64(v.Int32())
	case bson.TypeDateTime:
		return v.Time()
	case bson.TypeNull:
		return nil
	case bson.TypeArray, bson.TypeEmbeddedDocument:
		elements, err := bson.Raw(v.Value).Elements()
		if err != nil {
			t.Fatalf("read a document: %v", err)
		}
		list, doc := []any{}, map[string]any{}
		for _, e := range elements {
			list = append(list, plain(t, e.Value()))
			doc[e.Key()] = plain(t, e.Value())
		}
		if v.Type == bson.TypeArray {
			return list
		}
		return doc
	}
	t.Fatalf("the intent has a value of type %v", v.Type)
	return nil
}

func parsed(t interface{ Fatalf(string, ...any) }, intent bson.D) *outbox.Intent {
	raw, err := bson.Marshal(intent)
	if err != nil {
		t.Fatalf("encode the intent: %v", err)
	}
	doc, _ := plain(t, bson.RawValue{Type: bson.TypeEmbeddedDocument, Value: raw}).(map[string]any)
	return outbox.Parse(doc, outbox.Rules{WriteBack: []string{Collection}, Namespace: "k3m9x0q2ab"})
}

// Whatever order is accepted, its intent keeps the contract: nothing that a customer writes becomes a 500 or a dead
// letter.
func TestEveryAcceptedOrderMakesAValidIntent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fields := map[string]any{"amount": rapid.Int64Range(1, maxAmount).Draw(t, "amount")}
		if rapid.Bool().Draw(t, "usual amount") {
			fields["amount"] = rapid.Int64Range(1, 100_000).Draw(t, "amount")
		}
		fields["currency"] = rapid.OneOf(rapid.SampledFrom([]string{"eur", "jpy", "kwd", "isk", "idr", "huf"}), rapid.StringMatching(`[a-z]{3}`)).Draw(t, "currency")
		for _, f := range Fields() {
			if f.Pattern == nil || f.Name == "currency" || !f.Required && rapid.Bool().Draw(t, "no "+f.Name) {
				continue
			}
			fields[f.Name] = rapid.OneOf(rapid.StringMatching(strings.TrimSuffix(strings.TrimPrefix(f.Pattern.String(), "^"), "$")), rapid.Just("${_id}@${result.id}")).Draw(t, f.Name)
		}
		body, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		o, err := ReadOrder(body)
		if _, refused := errors.AsType[*Refused](err); refused {
			return
		}
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		if in := parsed(t, newPayment(o, "").chargeIntent(senders, Trace{})); len(in.Problems) > 0 {
			t.Fatalf("%s makes an intent with %v", body, in.Problems)
		}
	})
}

func TestFollowUps(t *testing.T) {
	for name, c := range map[string]struct {
		order      Order
		done, dead int
	}{
		"both":     {Order{Email: "a@b", Phone: "+15"}, 2, 2},
		"e-mail":   {Order{Email: "a@b"}, 1, 2},
		"phone":    {Order{Phone: "+15"}, 1, 0},
		"neither":  {Order{}, 0, 0},
		"a phrase": {Order{Email: "a@b", Description: "x"}, 1, 2},
	} {
		c.order.Amount, c.order.Currency, c.order.Customer, c.order.PaymentMethod = 1999, "eur", "c", "p"
		p := newPayment(c.order, "")
		in := parsed(t, p.chargeIntent(senders, Trace{}))
		if len(in.Problems) > 0 || len(in.OnDone) != c.done || len(in.OnDead) != c.dead {
			t.Errorf("%s: %d and %d follow-ups, problems %v", name, len(in.OnDone), len(in.OnDead), in.Problems)
		}
		for _, f := range slices.Concat(in.OnDone, in.OnDead) {
			if at, ok := f["expires_at"].(time.Time); !ok || at.Sub(p.CreatedAt) <= 72*time.Hour {
				t.Errorf("%s: a message expires at %v, before a worker gives up charging", name, f["expires_at"])
			}
		}
	}
}

// Only what means one thing is read.
func TestReadObject(t *testing.T) {
	for text, want := range map[string]any{
		`{}`:                         nil,
		` {"a":1} ` + "\n":           nil,
		`{"a":"\ud83d\udcda"}`:       nil,
		`{"a":"\\ud83d"}`:            nil, // a backslash, and five letters
		`{"a":"\ud83d"}`:             errNotText,
		`{"a":"\udcda\ud83d"}`:       errNotText,
		`{"a":"\ud83dx"}`:            errNotText,
		`{"a":"\ud83d\ud83d\udcda"}`: errNotText,
		"{\"a\":\"\xff\"}":           errNotText,
		`{"a":1,"a":1}`:              errRepeated,
		`{"a":1,"\u0061":2}`:         errRepeated,
		`{"a":[{"b":1,"b":2}]}`:      errRepeated,
		`{"a":1,"A":2}`:              nil,
		`[{"a":1}]`:                  errNotObject,
		`"a"`:                        errNotObject,
		`null`:                       errNotObject,
		``:                           errNotObject,
		`{`:                          errNotObject,
		`{"a"}`:                      errNotObject,
		`{"a":1}}`:                   errNotObject,
		`{"a":1} {"b":1}`:            errNotObject,
		`{"a":NaN}`:                  errNotObject,
		"\ufeff{}":                   errNotObject,
		strings.Repeat(`{"a":`, 40):  errTooDeep,
		strings.Repeat("[", 1_000):   errTooDeep,
		`{"a":` + strings.Repeat("[", 20) + strings.Repeat("]", 20) + `}`: nil,
	} {
		_, err := readObject([]byte(text))
		if want == nil && err != nil || want != nil && err != want {
			t.Errorf("%.60s: %v, want %v", text, err, want)
		}
	}
}

func TestReadKey(t *testing.T) {
	for _, c := range []struct{ value, want string }{
		{"order 1", "order 1"}, {`"order 1"`, "order 1"}, {` "a\"b\\c" `, `a"b\c`}, {`a"b`, `a"b`}, {strings.Repeat("k", 255), strings.Repeat("k", 255)},
		{"", ""}, {`""`, ""}, {`"a`, ""}, {`"a"b`, ""}, {`"a";q=1`, ""}, {`"a\x"`, ""}, {`"a\`, ""}, {"a\x00", ""}, {"ä", ""}, {strings.Repeat("k", 256), ""},
	} {
		got, err := ReadKey([]string{c.value})
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%q: %q, %v", c.value, got, err)
		}
	}
	if key, err := ReadKey(nil); key != "" || err != nil {
		t.Errorf("no header: %q, %v", key, err)
	}
	if _, err := ReadKey([]string{"a", "a"}); err == nil {
		t.Error("a header that stands twice is accepted")
	}
}

// Amounts that Stripe refuses for the currency are refused here, with the limits, and not by the database.
func TestAmountsOutsideTheCurrencysLimits(t *testing.T) {
	for _, c := range []struct {
		amount   int64
		currency string
	}{{maxAmount + 1, "idr"}, {100_000_000, "eur"}, {100_000_000, "xyz"}, {49, "eur"}, {1005, "kwd"}, {10_050, "isk"}, {17_499, "huf"}} {
		body := fmt.Sprintf(`{"amount":%d,"currency":%q,"customer":"c","payment_method":"p"}`, c.amount, c.currency)
		_, err := ReadOrder([]byte(body))
		r, ok := errors.AsType[*Refused](err)
		if !ok || len(r.Problems) != 1 || r.Problems[0].Code != CodeInvalidAmount || r.Problems[0].Field != "amount" || r.Problems[0].Msg == "" {
			t.Errorf("%s: %v", body, err)
		}
	}
}
