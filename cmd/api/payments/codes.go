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
	CodeInvalidWait           = "invalid_wait"
	CodeUnknownPayment        = "unknown_payment"
)

// CodeInfo describes one code.
type CodeInfo struct{ Code, Meaning string }

// Codes lists every code of a business error, in the order of the documentation. The caller may keep it.
func Codes() []CodeInfo {
	return []CodeInfo{
		{CodeUnknownField, "The body has a field that the API does not know. It is refused, so that a typing error is noticed."},
		{CodeInvalidAmount, "amount must be a positive integer in the currency's minor unit, within Stripe's limits for the currency."},
		{CodeInvalidCurrency, "currency must be three lower-case letters of ISO 4217, such as eur."},
		{CodeInvalidCustomer, "customer must be the id of a Stripe customer: 1 to 255 printable ASCII characters without spaces."},
		{CodeInvalidPaymentMethod, "payment_method must be the id of a Stripe payment method: 1 to 255 printable ASCII characters without spaces."},
		{CodeInvalidEmail, "email must be an e-mail address of at most 254 ASCII characters. Leave it out for no receipt by e-mail."},
		{CodeInvalidPhone, "phone must be a number in E.164, such as +4915112345678. Leave it out for no receipt by SMS."},
		{CodeInvalidDescription, "description must be a text of 1 to 500 characters without control characters. It may be left out."},
		{CodeInvalidIdempotencyKey, "The header Idempotency-Key must stand once and hold 1 to 255 printable ASCII characters, with or without quotes around them."},
		{CodeIdempotencyKeyReused, "The Idempotency-Key was used before with another request. Nothing was done."},
		{CodeInvalidWait, "wait must be a number of seconds from 0s to 30s, such as 20s."},
		{CodeUnknownPayment, "There is no payment with this id."},
	}
}
