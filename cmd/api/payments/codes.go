package payments

// Codes of business errors. They are public: a code is added, never renamed or given another meaning.
const (
	CodeUnknownField          = "unknown_field"
	CodeInvalidAmount         = "invalid_amount"
	CodeInvalidCurrency       = "invalid_currency"
	CodeInvalidCustomer       = "invalid_customer"
	CodeInvalidPaymentMethod  = "invalid_payment_method"
	CodeInvalidEmail          = "invalid_email"
	CodeInvalidPhone          = "invalid_phone"
	CodeInvalidDescription    = "invalid_description"
	CodeInvalidIdempotencyKey = "invalid_idempotency_key"
	CodeIdempotencyKeyReused  = "idempotency_key_reused"
)

// CodeInfo describes one code.
type CodeInfo struct{ Code, Meaning string }

// Codes lists every code of a business error, in the order of the documentation. The caller may keep it.
func Codes() []CodeInfo {
	return []CodeInfo{
		{CodeUnknownField, "The body has a field that the API does not know. It is refused, so that a typing error is noticed."},
		{CodeInvalidAmount, "amount is not an integer from 1 to 99999999, in the currency's minor unit."},
		{CodeInvalidCurrency, "currency is not three lower-case letters of ISO 4217."},
		{CodeInvalidCustomer, "customer is not a Stripe customer's id: 1 to 255 characters without spaces."},
		{CodeInvalidPaymentMethod, "payment_method is not the id of a Stripe payment method: 1 to 255 characters without spaces."},
		{CodeInvalidEmail, "email is not an e-mail address."},
		{CodeInvalidPhone, "phone is not a number in E.164, such as +4915112345678."},
		{CodeInvalidDescription, "description is not a text of 1 to 500 characters without control characters."},
		{CodeInvalidIdempotencyKey, "The header Idempotency-Key is not 1 to 255 printable ASCII characters, or stands twice."},
		{CodeIdempotencyKeyReused, "The Idempotency-Key was used before with another request. Nothing was done."},
	}
}

// refusal is a business error: the request was understood and is refused for what it says.
type refusal struct{ code, msg string }

func (r *refusal) Error() string { return r.code + ": " + r.msg }

// refuse returns the refusal of a code, in the words of its meaning.
func refuse(code string) *refusal {
	for _, c := range Codes() {
		if c.Code == code {
			return &refusal{code, c.Meaning}
		}
	}
	panic("payments: no meaning for the code " + code) // a new code without its line in Codes
}
