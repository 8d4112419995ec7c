package payments

import (
	"crypto/rand"
	"regexp"
	"strings"
	"time"
)

// Collection is the name of the payments' collection. The worker's configuration must allow it for write_back.
const Collection = "payments"

// Payment is one document of the collection. Whoever reads it elsewhere should heed receipt.status and settlement as
// [Payment.Status] does: state alone says paid of a bank debit that Stripe has only accepted.
type Payment struct {
	ID            string    `bson:"_id"`
	State         State     `bson:"state"`  // pending, paid, failed or checking
	Amount        int64     `bson:"amount"` // in the currency's minor unit
	Currency      string    `bson:"currency"`
	Customer      string    `bson:"customer"`
	PaymentMethod string    `bson:"payment_method"`
	Email         string    `bson:"email,omitempty"`
	Phone         string    `bson:"phone,omitempty"`
	Description   string    `bson:"description,omitempty"`
	CreatedAt     time.Time `bson:"created_at"`

	IdempotencyKey string `bson:"idempotency_key,omitempty"` // unique where it is there
	Fingerprint    string `bson:"fingerprint"`               // of the request, to notice a key that is used for another one

	// What the worker writes back.
	Receipt *Receipt `bson:"receipt,omitempty"` // of a paid one
	Failure *Failure `bson:"failure,omitempty"` // of a failed one

	// What webhooks tell. Fields of their own, so that neither writer undoes what the other one knows.
	Settlement *Settlement          `bson:"settlement,omitempty"`
	Delivery   map[Message]Delivery `bson:"delivery,omitempty"` // state is the worker's, the rest the webhooks'
}

// Receipt says under which id the provider knows the payment.
type Receipt struct {
	Provider string `bson:"provider" json:"provider" example:"stripe"`
	ID       string `bson:"id" json:"id" example:"pi_3MtwBwLkdIwHu7ix28a3tqPa"`
	Status   string `bson:"status,omitempty" json:"-"` // the PaymentIntent's when the charge was settled
}

// Failure says why the payment failed: reason as the intent's dead_reason, code as its last_error.code.
type Failure struct {
	Reason string `bson:"reason" json:"reason" example:"permanent"`
	Code   string `bson:"code,omitempty" json:"code,omitempty" example:"declined"`
}

// Settlement is how a PaymentIntent ended, as Stripe's events tell.
type Settlement struct {
	State string    `bson:"state"` // succeeded, failed or canceled
	ID    string    `bson:"id"`    // of the PaymentIntent
	Code  string    `bson:"code,omitempty"`
	At    time.Time `bson:"at"`
}

var ids = regexp.MustCompile(`^pay_[a-z2-7]{26}$`)

// IsID reports whether a text can be the id of a payment.
func IsID(s string) bool { return ids.MatchString(s) }

// newPayment returns the document for an order. The id cannot be guessed: whoever knows it may see the payment's state.
func newPayment(o Order, key string) *Payment {
	return &Payment{
		ID: "pay_" + strings.ToLower(rand.Text()), State: StatePending,
		Amount: o.Amount, Currency: o.Currency, Customer: o.Customer, PaymentMethod: o.PaymentMethod,
		Email: o.Email, Phone: o.Phone, Description: o.Description,
		CreatedAt: time.Now().UTC().Truncate(time.Millisecond), IdempotencyKey: key, Fingerprint: o.fingerprint(),
	}
}
