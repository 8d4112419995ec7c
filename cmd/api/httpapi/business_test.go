package httpapi_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/outboxd/outboxd/cmd/api/payments"
)

// What is wrong with what a request says is 422, with the code of each thing that is wrong, and leaves nothing behind.
func TestBusinessErrors(t *testing.T) {
	a := start(t)
	with := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%s is not in the good request", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	const amount, currency, customer, method = payments.CodeInvalidAmount, payments.CodeInvalidCurrency, payments.CodeInvalidCustomer, payments.CodeInvalidPaymentMethod
	const email, phone, description, unknown = payments.CodeInvalidEmail, payments.CodeInvalidPhone, payments.CodeInvalidDescription, payments.CodeUnknownField
	cases := []struct {
		name, body string
		want       []string
	}{
		{"a typing error", with(`"amount"`, `"ammount":1,"amount"`), []string{unknown}},
		{"another case", with(`"email"`, `"Email"`), []string{unknown}},
		{"an empty name", with(`"amount"`, `"":1,"amount"`), []string{unknown}},
		{"amount 0", with(`1999`, `0`), []string{amount}},
		{"amount -1", with(`1999`, `-1`), []string{amount}},
		{"amount with cents", with(`1999`, `19.99`), []string{amount}},
		{"amount as a text", with(`1999`, `"1999"`), []string{amount}},
		{"amount of nine digits", with(`1999`, `100000000`), []string{amount}},
		{"amount beyond int64", with(`1999`, `99999999999999999999`), []string{amount}},
		{"amount 1e300", with(`1999`, `1e300`), []string{amount}},
		{"amount 1e400", with(`1999`, `1e400`), []string{amount}},
		{"amount null", with(`1999`, `null`), []string{amount}},
		{"amount true", with(`1999`, `true`), []string{amount}},
		{"no amount", with(`"amount":1999,`, ``), []string{amount}},
		{"currency in capitals", with(`"eur"`, `"EUR"`), []string{currency}},
		{"currency of four letters", with(`"eur"`, `"euro"`), []string{currency}},
		{"currency as a number", with(`"eur"`, `978`), []string{currency}},
		{"currency and a newline", with(`"eur"`, `"eur\n"`), []string{currency}},
		{"customer empty", with(`"cus_1"`, `""`), []string{customer}},
		{"customer with a space", with(`"cus_1"`, `"a b"`), []string{customer}},
		{"customer too long", with(`cus_1`, strings.Repeat("c", 256)), []string{customer}},
		{"customer an object", with(`"cus_1"`, `{"id":"cus_1"}`), []string{customer}},
		{"no payment_method", with(`"payment_method":"pm_card_visa",`, ``), []string{method}},
		{"payment_method null", with(`"pm_card_visa"`, `null`), []string{method}},
		{"email without @", with(`ada@example.org`, `ada`), []string{email}},
		{"email with two @", with(`ada@example.org`, `a@b@c`), []string{email}},
		{"email with a header", with(`ada@example.org`, `ada@example.org\nBcc: x@y.z`), []string{email}},
		{"email empty", with(`ada@example.org`, ``), []string{email}},
		{"email null", with(`"ada@example.org"`, `null`), []string{email}},
		{"email too long", with(`ada@`, strings.Repeat("a", 250)+`@`), []string{email}},
		{"email not ASCII", with(`ada@`, `adä@`), []string{email}},
		{"phone with 00", with(`+4915112345678`, `004915112345678`), []string{phone}},
		{"phone with +0", with(`+4915112345678`, `+0915112345678`), []string{phone}},
		{"phone with spaces", with(`+4915112345678`, `+49 151 12345678`), []string{phone}},
		{"phone as a number", with(`"+4915112345678"`, `4915112345678`), []string{phone}},
		{"description empty", with(`Two books`, ``), []string{description}},
		{"description too long", with(`Two books`, strings.Repeat("ü", 501)), []string{description}},
		{"description an array", with(`"Two books"`, `["x"]`), []string{description}},
		{"description with a control character", with(`Two books`, `Two\u0000books`), []string{description}},
		{"everything at once", `{"amount":"x","currency":"EUR","customer":"","payment_method":1,"email":"x","phone":"x","description":"","b":1,"a":2}`,
			[]string{amount, currency, customer, method, email, phone, description, unknown, unknown}},
		{"nothing at all", `{}`, []string{amount, currency, customer, method}},
		{"the field names a stranger", `{"amount":100,"currency":"eur","customer":"c","payment_method":"p","` + strings.Repeat("x", 5000) + `":1}`, []string{unknown}},
	}
	if len(cases) < 40 {
		t.Errorf("%d cases", len(cases))
	}
	seen := make(map[string]bool)
	for _, c := range cases {
		ans := a.post(c.body)
		if ans.status != http.StatusUnprocessableEntity || !slices.Equal(ans.codes(), c.want) {
			t.Errorf("%s: %d %s, want %v", c.name, ans.status, ans.text, c.want)
		}
		for _, code := range ans.codes() {
			seen[code] = true
		}
		if strings.Contains(ans.text, "example.org") || len(ans.text) > 3000 {
			t.Errorf("%s: the answer repeats the request: %s", c.name, ans.text)
		}
	}
	for _, c := range []struct {
		code, method, path, body string
		headers                  []string
	}{
		{payments.CodeUnknownPayment, "GET", "/payments/pay_aaaaaaaaaaaaaaaaaaaaaaaaaa", "", nil},
		{payments.CodeUnknownPayment, "GET", "/payments/pay_x", "", nil},
		{payments.CodeUnknownPayment, "GET", "/payments/pay_aaaaaaaaaaaaaaaaaaaaaaaaaa/events", "", nil},
		{payments.CodeUnknownPayment, "GET", "/payments/a%2Fb", "", nil},
		{payments.CodeUnknownPayment, "GET", "/payments/%00", "", nil},
		{payments.CodeInvalidWait, "GET", "/payments/pay_x?wait=31s", "", nil},
		{payments.CodeInvalidWait, "GET", "/payments/pay_x?wait=", "", nil},
		{payments.CodeInvalidWait, "GET", "/payments/pay_x?wait=20s&wait=1s", "", nil},
		{payments.CodeInvalidWait, "GET", "/payments/pay_x?wait=1h", "", nil},
		{payments.CodeInvalidIdempotencyKey, "POST", "/payments", good, []string{"Idempotency-Key", strings.Repeat("k", 256)}},
		{payments.CodeInvalidIdempotencyKey, "POST", "/payments", good, []string{"Idempotency-Key", "schlüssel"}},
		{payments.CodeInvalidIdempotencyKey, "POST", "/payments", good, []string{"Idempotency-Key", "a", "Idempotency-Key", "b"}},
		{payments.CodeInvalidIdempotencyKey, "POST", "/payments", good, []string{"Idempotency-Key", `"open`}},
		{payments.CodeInvalidIdempotencyKey, "POST", "/payments", good, []string{"Idempotency-Key", `""`}},
	} {
		seen[c.code] = true
		if ans := a.do(c.method, c.path, c.body, c.headers...); ans.status != 422 || ans.body.Error.Code != c.code || ans.body.Error.Msg == "" {
			t.Errorf("%s %s: %d %s, want %s", c.method, c.path, ans.status, ans.text, c.code)
		}
	}
	seen[payments.CodeIdempotencyKeyReused] = true // has a test of its own
	for _, c := range payments.Codes() {
		if !seen[c.Code] {
			t.Errorf("no case for the code %s", c.Code)
		}
	}
	if list, intents := a.written(); len(list)+len(intents) != 0 {
		t.Errorf("refused requests left %d payments and %d intents", len(list), len(intents))
	}
}

// The form of one error and of several, to the letter.
func TestTheFormOfBusinessErrors(t *testing.T) {
	a := start(t)
	one := a.do("GET", "/payments/x", "")
	if want := `{"error":{"code":"unknown_payment","msg":"There is no payment with this id."}}`; strings.TrimSpace(one.text) != want {
		t.Errorf("one problem is %s", one.text)
	}
	two := a.post(strings.Replace(strings.Replace(good, "1999", "0", 1), `"eur"`, `"EUR"`, 1))
	want := fmt.Sprintf(`{"errors":[{"code":"invalid_amount","msg":%q,"field":"amount"},{"code":"invalid_currency","msg":%q,"field":"currency"}]}`,
		two.body.Errors[0].Msg, two.body.Errors[1].Msg)
	if strings.TrimSpace(two.text) != want {
		t.Errorf("two problems are %s", two.text)
	}
	// What is wrong with the header stands beside what is wrong with the body.
	both := a.post(strings.Replace(good, "1999", "0", 1), "Idempotency-Key", `""`)
	if !slices.Equal(both.codes(), []string{payments.CodeInvalidAmount, payments.CodeInvalidIdempotencyKey}) {
		t.Errorf("body and header: %s", both.text)
	}
}

// What JSON calls the same number is accepted however it is written, and what is optional may be absent.
func TestWhatIsAccepted(t *testing.T) {
	a := start(t)
	for _, amount := range []string{"1999.0", "1.999e3", "50", "99999999"} {
		if ans := a.post(strings.Replace(good, "1999", amount, 1)); ans.status != http.StatusAccepted {
			t.Errorf("amount %s: %d %s", amount, ans.status, ans.text)
		}
	}
	least := `{"amount":100,"currency":"jpy","customer":"c","payment_method":"p"`
	for _, body := range []string{least + "}", least + `,"email":"a@b"}`, least + `,"phone":"+15"}`, least + `,"description":"Bücher 📚"}`} {
		if ans := a.post(body, "Content-Type", "application/json; charset=utf-8"); ans.status != http.StatusAccepted {
			t.Errorf("%s: %d %s", body, ans.status, ans.text)
		}
	}
}
