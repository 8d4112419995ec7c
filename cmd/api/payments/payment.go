package payments

import (
	"crypto/rand"
	"strconv"
	"strings"
	"time"
)

// Collection is the name of the payments' collection. The worker's configuration must allow it for write_back.
const Collection = "payments"

// State is what became of a payment.
type State string

// The states of a payment.
const (
	StatePending State = "pending" // accepted; the card is not charged yet, or it is not known yet
	StatePaid    State = "paid"
	StateFailed  State = "failed" // Failure says why
)

// Payment is one document of the collection.
type Payment struct {
	ID            string    `bson:"_id"`
	State         State     `bson:"state"`
	Amount        int64     `bson:"amount"` // in the currency's minor unit
	Currency      string    `bson:"currency"`
	Customer      string    `bson:"customer"`
	PaymentMethod string    `bson:"payment_method"`
	Email         string    `bson:"email"`
	Phone         string    `bson:"phone"`
	Description   string    `bson:"description,omitempty"`
	CreatedAt     time.Time `bson:"created_at"`

	IdempotencyKey string `bson:"idempotency_key,omitempty"` // unique where it is there
	Fingerprint    string `bson:"fingerprint"`               // of the request, to notice a key that is used for another one

	// What the worker writes back.
	Receipt *Receipt `bson:"receipt,omitempty"` // of a paid one
	Failure *Failure `bson:"failure,omitempty"` // of a failed one
}

// Receipt says under which id the provider knows the payment.
type Receipt struct {
	Provider string `bson:"provider" json:"provider"`
	ID       string `bson:"id" json:"id"`
}

// Failure says why the payment failed: reason as the intent's dead_reason, code as its last_error.code.
type Failure struct {
	Reason string `bson:"reason" json:"reason"`
	Code   string `bson:"code,omitempty" json:"code,omitempty"`
}

// view is a payment as the API shows it: without the customer's data.
type view struct {
	ID          string    `json:"id"`
	State       State     `json:"state"`
	Amount      int64     `json:"amount"`
	Currency    string    `json:"currency"`
	Description string    `json:"description,omitempty"`
	CreatedAt   time.Time `json:"created_at"`
	Receipt     *Receipt  `json:"receipt,omitempty"`
	Failure     *Failure  `json:"failure,omitempty"`
}

func (p *Payment) view() view {
	return view{ID: p.ID, State: p.State, Amount: p.Amount, Currency: p.Currency, Description: p.Description,
		CreatedAt: p.CreatedAt, Receipt: p.Receipt, Failure: p.Failure}
}

// newPayment returns the document for an order. The id cannot be guessed: whoever knows it may see the payment's state.
func newPayment(o order, key string) *Payment {
	return &Payment{
		ID: "pay_" + strings.ToLower(rand.Text()), State: StatePending,
		Amount: o.amount, Currency: o.currency, Customer: o.customer, PaymentMethod: o.paymentMethod,
		Email: o.email, Phone: o.phone, Description: o.description,
		CreatedAt: time.Now().UTC().Truncate(time.Millisecond), IdempotencyKey: key, Fingerprint: o.fingerprint(),
	}
}

// price writes an amount for a person, such as "19.99 EUR". Sources: Stripe, "Supported currencies", zero-decimal and
// three-decimal currencies.
func price(amount int64, currency string) string {
	decimals := 2
	switch currency {
	case "bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf":
		decimals = 0
	case "bhd", "jod", "kwd", "omr", "tnd":
		decimals = 3
	}
	digits := strconv.FormatInt(amount, 10)
	if decimals > 0 {
		if missing := decimals + 1 - len(digits); missing > 0 {
			digits = strings.Repeat("0", missing) + digits
		}
		digits = digits[:len(digits)-decimals] + "." + digits[len(digits)-decimals:]
	}
	return digits + " " + strings.ToUpper(currency)
}
