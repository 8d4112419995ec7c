package payments

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/outboxd/outboxd/outbox"
)

// Order is what a request asks for. Email, Phone and Description may be empty.
type Order struct {
	Amount        int64 // in the currency's minor unit
	Currency      string
	Customer      string
	PaymentMethod string
	Email         string
	Phone         string
	Description   string
}

// Field describes one field of an order. It is what a request is checked against and what the API's description is made
// from, so the two cannot differ.
type Field struct {
	Name, Code string
	Doc        string
	Example    any
	Required   bool
	Min, Max   int64          // of an integer; Max 0: it is a text
	Pattern    *regexp.Regexp // of a text; means the same in Go, ECMAScript and Python
	MaxLength  int            // of a text, in characters; 0: the pattern bounds it
}

// maxAmount is Stripe's largest limit for any currency. What holds for the order's own is the outbox's to know.
const maxAmount = 999_999_999_999

// Fields lists the fields of an order. The caller may keep it.
func Fields() []Field {
	reference := regexp.MustCompile(`^[!-~]{1,255}$`)
	return []Field{
		{Name: "amount", Code: CodeInvalidAmount, Doc: "What is charged, in the currency's minor unit: 1999 is 19.99 EUR. Stripe has a least and a most for each currency, such as 0.50 EUR.", Example: 1999, Required: true, Min: 1, Max: maxAmount},
		{Name: "currency", Code: CodeInvalidCurrency, Doc: "ISO 4217, lower case.", Example: "eur", Required: true, Pattern: regexp.MustCompile(`^[a-z]{3}$`)},
		{Name: "customer", Code: CodeInvalidCustomer, Doc: "The id of the Stripe customer.", Example: "cus_1", Required: true, Pattern: reference},
		{Name: "payment_method", Code: CodeInvalidPaymentMethod, Doc: "The id of the customer's Stripe payment method.", Example: "pm_card_visa", Required: true, Pattern: reference},
		{Name: "email", Code: CodeInvalidEmail, Doc: "Where the receipt goes. Without it there is none by e-mail.", Example: "ada@example.org", Pattern: regexp.MustCompile(`^[!-?A-~]+@[!-?A-~]+$`), MaxLength: 254},
		{Name: "phone", Code: CodeInvalidPhone, Doc: "Where the receipt goes by SMS, in E.164. Without it there is none by SMS.", Example: "+4915112345678", Pattern: regexp.MustCompile(`^\+[1-9][0-9]{1,14}$`)},
		{Name: "description", Code: CodeInvalidDescription, Doc: "What is paid for, as the customer reads it on the receipt.", Example: "Two books", Pattern: regexp.MustCompile(`^[^\x00-\x1f\x7f-\x9f]+$`), MaxLength: 500},
	}
}

// text returns where an order keeps the text of a field.
func (o *Order) text(name string) *string {
	switch name {
	case "currency":
		return &o.Currency
	case "customer":
		return &o.Customer
	case "payment_method":
		return &o.PaymentMethod
	case "email":
		return &o.Email
	case "phone":
		return &o.Phone
	case "description":
		return &o.Description
	}
	panic("payments: no place for the field " + name) // a new field without its line here
}

// ReadOrder reads the body of a request. Its error is an [Unreadable] for a body that is no JSON object, or a
// [*Refused] with everything that is wrong with the object's values.
func ReadOrder(body []byte) (Order, error) {
	object, err := readObject(body)
	if err != nil {
		return Order{}, err
	}
	var o Order
	var wrong []Problem
	known := make(map[string]bool)
	for _, f := range Fields() {
		known[f.Name] = true
		v, there := object[f.Name]
		if !there && !f.Required {
			continue
		}
		if f.Max > 0 {
			n, ok := wholeNumber(v)
			if !ok || n < f.Min || n > f.Max {
				wrong = append(wrong, problem(f.Code, f.Name))
			}
			o.Amount = n
			continue
		}
		s, isText := v.(string)
		if !isText || !f.accepts(s) {
			wrong = append(wrong, problem(f.Code, f.Name))
		}
		*o.text(f.Name) = s
	}
	if !slices.ContainsFunc(wrong, func(p Problem) bool { return p.Field == "amount" || p.Field == "currency" }) {
		wrong = append(o.outOfBounds(), wrong...)
	}
	wrong = append(wrong, unknownFields(object, known)...)
	if len(wrong) > 0 {
		return Order{}, &Refused{wrong}
	}
	return o, nil
}

// outOfBounds asks the contract about the amount, whose limits depend on the currency: the database would refuse the
// intent.
func (o *Order) outOfBounds() []Problem {
	in := outbox.Parse(map[string]any{"_id": "x", "kind": outbox.KindCharge, "status": string(outbox.StatusPending), "due_at": time.Now(),
		"payload": map[string]any{"amount": o.Amount, "currency": o.Currency, "customer": "x", "payment_method": "x"}}, outbox.Rules{})
	for _, p := range in.Problems {
		if p.Path == "payload.amount" {
			return []Problem{{CodeInvalidAmount, "amount " + p.Text + ".", "amount"}}
		}
	}
	return nil
}

func (f Field) accepts(s string) bool {
	return f.Pattern.MatchString(s) && (f.MaxLength == 0 || utf8.RuneCountInString(s) <= f.MaxLength)
}

const (
	maxUnknown = 10 // fields that are named; the rest is as wrong
	maxName    = 64 // characters of a name that are repeated
)

func unknownFields(object map[string]any, known map[string]bool) []Problem {
	var wrong []Problem
	for _, name := range slices.Sorted(maps.Keys(object)) {
		if known[name] {
			continue
		}
		if len(wrong) == maxUnknown {
			break
		}
		if utf8.RuneCountInString(name) > maxName {
			name = string([]rune(name)[:maxName]) + "…"
		}
		wrong = append(wrong, problem(CodeUnknownField, name))
	}
	return wrong
}

// fingerprint tells one order from another without holding any of it. Each field is preceded by its length, so that no
// two orders are the same row of bytes.
func (o Order) fingerprint() string {
	h := sha256.New()
	for _, field := range []string{fmt.Sprint(o.Amount), o.Currency, o.Customer, o.PaymentMethod, o.Email, o.Phone, o.Description} {
		fmt.Fprintf(h, "%d:%s", len(field), field)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// wholeNumber accepts 1999, and 1999.0 and 1.999e3 as well, which are the same number in JSON.
func wholeNumber(v any) (int64, bool) {
	n, isNumber := v.(json.Number)
	if !isNumber {
		return 0, false
	}
	if i, err := n.Int64(); err == nil {
		return i, true
	}
	f, err := n.Float64()
	if err != nil || f != math.Trunc(f) || math.Abs(f) > maxAmount {
		return 0, false
	}
	return int64(f), true
}

const maxKey = 255

// ReadKey returns a request's idempotency key, empty if it has none. values are those of the header Idempotency-Key,
// which is a string of RFC 9651 ("8e03978e-40d5") in the IETF's draft, and bare in most clients. Both name the same
// key. Its error is a [*Refused].
func ReadKey(values []string) (string, error) {
	if len(values) == 0 {
		return "", nil
	}
	key := strings.Trim(values[0], " \t")
	if quoted, ok := strings.CutPrefix(key, `"`); ok {
		if key, ok = unquote(quoted); !ok {
			return "", Refuse(CodeInvalidIdempotencyKey)
		}
	}
	if len(values) > 1 || key == "" || len(key) > maxKey || strings.ContainsFunc(key, func(c rune) bool { return c < ' ' || c > '~' }) {
		return "", Refuse(CodeInvalidIdempotencyKey)
	}
	return key, nil
}

// unquote reads the rest of a string of RFC 9651 after its opening quote: \" and \\ are its only escapes.
func unquote(s string) (string, bool) {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return out.String(), i == len(s)-1
		case s[i] == '\\':
			if i++; i == len(s) || s[i] != '"' && s[i] != '\\' {
				return "", false
			}
		}
		out.WriteByte(s[i])
	}
	return "", false
}
