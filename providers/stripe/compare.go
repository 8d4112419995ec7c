package stripe

import (
	"strconv"

	stripe "github.com/stripe/stripe-go/v76"

	"github.com/outboxd/outboxd/outbox"
)

// kin says whose a PaymentIntent is.
type kin int

const (
	stranger   kin = iota // of another intent, or of no intent
	own                   // of this intent in this generation
	earlier               // of this intent in an earlier generation
	later                 // of this intent in a later generation: the document was restored from a backup
	unlabelled            // of this outbox_id, made by older code for this intent or for its namesake in another outbox
)

// kinship reads the labels of a PaymentIntent. legacy says that the intent's document knows it as one of older code,
// which labelled by outbox_id alone.
func kinship(in *outbox.Intent, pi *stripe.PaymentIntent, legacy bool) kin {
	id, ns, key := pi.Metadata[outbox.ReservedMetadata], pi.Metadata[outbox.ReservedNamespace], pi.Metadata[outbox.ReservedKey]
	switch {
	case id != in.ID.String():
		return stranger
	case ns == "" && key == "" && legacy:
		return own
	case ns == "" && key == "":
		return unlabelled
	case ns != in.Namespace || key == "":
		return stranger
	}
	mine := in.TypeAndGeneration()
	generation, err := strconv.Atoi(key[1:])
	switch {
	case key == mine:
		return own
	case err != nil || key[:1] != mine[:1]: // an id of another type
		return stranger
	case generation < in.Generation:
		return earlier
	default:
		return later
	}
}

// difference names the first field in which a PaymentIntent differs from the payload, empty if there is none. The
// payment method is compared as long as it can still be charged.
func difference(c *outbox.Charge, account string, pi *stripe.PaymentIntent) string {
	customer := ""
	if pi.Customer != nil {
		customer = pi.Customer.ID
	}
	switch {
	case pi.Amount != c.Amount:
		return "amount"
	case string(pi.Currency) != c.Currency:
		return "currency"
	case customer != c.Customer:
		return "customer"
	case account != c.Account:
		return "account"
	case untried(pi) && pi.PaymentMethod != nil && pi.PaymentMethod.ID != c.PaymentMethod:
		return "payment_method"
	default:
		return ""
	}
}

// untried reports whether a PaymentIntent was never tried.
func untried(pi *stripe.PaymentIntent) bool {
	return pi.Status == stripe.PaymentIntentStatusRequiresConfirmation ||
		pi.Status == stripe.PaymentIntentStatusRequiresPaymentMethod && pi.LastPaymentError == nil
}

// charged reports whether money moved or is about to.
func charged(pi *stripe.PaymentIntent) bool {
	return pi.Status == stripe.PaymentIntentStatusSucceeded || pi.Status == stripe.PaymentIntentStatusRequiresCapture ||
		pi.Status == stripe.PaymentIntentStatusProcessing
}
