package payments

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of what is accepted. The amount's is Stripe's ("Create a PaymentIntent": eight digits).
const (
	maxBody        = 64 << 10
	maxAmount      = 99_999_999
	maxReference   = 255
	maxDescription = 500
	maxKey         = 255
)

// order is what a request asks for.
type order struct {
	amount        int64
	currency      string
	customer      string
	paymentMethod string
	email         string
	phone         string
	description   string // may be empty
}

var errNotObject = errors.New("the body must be one JSON object")

// readOrder reads the body of a request. Its error is a *refusal for what the object says, errNotObject for a body that
// is none, or the reader's own.
func readOrder(body io.Reader) (order, error) {
	data, err := io.ReadAll(body)
	if err != nil {
		return order{}, err
	}
	var fields map[string]any
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	// encoding/json replaces what is no UTF-8; a name that was changed on the way in must not be charged or written to.
	if err := dec.Decode(&fields); err != nil || fields == nil || !utf8.Valid(data) {
		return order{}, errNotObject
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return order{}, errNotObject
	}
	return newOrder(fields)
}

func newOrder(fields map[string]any) (order, error) {
	var o order
	text := func(name string) (string, bool) {
		v, there := fields[name]
		s, isText := v.(string)
		return s, isText || !there
	}
	known := []string{"amount", "currency", "customer", "payment_method", "email", "phone", "description"}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if !slices.Contains(known, name) {
			return o, refuse(CodeUnknownField)
		}
	}
	var ok bool
	if o.amount, ok = wholeNumber(fields["amount"]); !ok || o.amount < 1 || o.amount > maxAmount {
		return o, refuse(CodeInvalidAmount)
	}
	for _, field := range []struct {
		name, code string
		value      *string
		valid      func(string) bool
	}{
		{"currency", CodeInvalidCurrency, &o.currency, isCurrency},
		{"customer", CodeInvalidCustomer, &o.customer, isReference},
		{"payment_method", CodeInvalidPaymentMethod, &o.paymentMethod, isReference},
		{"email", CodeInvalidEmail, &o.email, isEmail},
		{"phone", CodeInvalidPhone, &o.phone, isE164},
	} {
		if *field.value, ok = text(field.name); !ok || !field.valid(*field.value) {
			return o, refuse(field.code)
		}
	}
	if o.description, ok = text("description"); !ok || fields["description"] != nil && !isDescription(o.description) {
		return o, refuse(CodeInvalidDescription)
	}
	return o, nil
}

// fingerprint tells one order from another without holding any of it. Each field is preceded by its length, so that no
// two orders are the same row of bytes.
func (o order) fingerprint() string {
	h := sha256.New()
	for _, field := range []string{fmt.Sprint(o.amount), o.currency, o.customer, o.paymentMethod, o.email, o.phone, o.description} {
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

func isCurrency(s string) bool {
	return len(s) == 3 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz") == ""
}

// isReference accepts an id of the payment provider. What it looks like is the provider's business.
func isReference(s string) bool {
	return s != "" && len(s) <= maxReference && !strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' })
}

// isEmail asks for little: what an address may be is the mail provider's to say.
func isEmail(s string) bool {
	local, domain, ok := strings.Cut(s, "@")
	return ok && local != "" && domain != "" && len(s) <= 320 && !strings.Contains(domain, "@") &&
		!strings.ContainsFunc(s, func(c rune) bool { return unicode.IsSpace(c) || unicode.IsControl(c) })
}

func isE164(s string) bool {
	return len(s) >= 3 && len(s) <= 16 && s[0] == '+' && s[1] >= '1' && s[1] <= '9' && strings.Trim(s[1:], "0123456789") == ""
}

func isDescription(s string) bool {
	return s != "" && utf8.RuneCountInString(s) <= maxDescription && !strings.ContainsFunc(s, unicode.IsControl)
}

// idempotencyKey returns the request's key, empty if it has none. Keys are printable ASCII, as Stripe's are.
func idempotencyKey(values []string) (string, error) {
	switch {
	case len(values) == 0:
		return "", nil
	case len(values) > 1 || values[0] == "" || len(values[0]) > maxKey,
		strings.ContainsFunc(values[0], func(c rune) bool { return c < ' ' || c > '~' }):
		return "", refuse(CodeInvalidIdempotencyKey)
	}
	return values[0], nil
}
