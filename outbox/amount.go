package outbox

import "fmt"

// amounts are Stripe's limits for one currency, in the unit in which Stripe takes the amount.
type amounts struct {
	least, most int64
	step        int64 // the amount is a multiple of it
}

// Sources: Stripe, "Supported currencies" (docs.stripe.com/currencies), for minimums, maximums by currency,
// three-decimal currencies and the special cases ISK and UGX; API reference, "Create a PaymentIntent", for the eight
// digits of all others. A minimum holds where the account settles in the same currency; for others only Stripe can
// tell it.
const (
	eightDigits  = 99_999_999
	twelveDigits = 999_999_999_999
)

var limitsOf = func() map[string]amounts {
	table := make(map[string]amounts)
	set := func(change func(*amounts), currencies ...string) {
		for _, currency := range currencies {
			limits, known := table[currency]
			if !known {
				limits = amounts{least: 1, most: eightDigits, step: 1}
			}
			change(&limits)
			table[currency] = limits
		}
	}
	least := func(n int64, currencies ...string) { set(func(a *amounts) { a.least = n }, currencies...) }
	least(30, "gbp")
	least(50, "usd", "ars", "aud", "brl", "cad", "chf", "cop", "eur", "idr", "ils", "inr", "jpy", "krw", "nzd", "php", "rub", "sgd", "zar")
	least(100, "bgn")
	least(200, "aed", "myr", "pln", "ron")
	least(250, "dkk")
	least(300, "nok", "sek")
	least(400, "hkd")
	least(1_000, "mxn", "thb")
	least(1_500, "czk")
	least(17_500, "huf")

	most := func(n int64, currencies ...string) { set(func(a *amounts) { a.most = n }, currencies...) }
	most(999_999_999, "inr")
	most(9_999_999_999, "cop", "huf", "jpy")
	most(99_999_999_999, "lbp")
	most(twelveDigits, "idr")

	// Thousandths whose last digit must be 0, and hundredths that must be 00.
	set(func(a *amounts) { a.step = 10 }, "bhd", "jod", "kwd", "omr", "tnd")
	set(func(a *amounts) { a.step = 100 }, "isk", "ugx")
	return table
}()

// amount reads the amount of a charge in a currency; an empty currency is not known yet.
func (r *reader) amount(currency string) int64 {
	had := len(*r.problems)
	n := r.integer("amount", required, 1, twelveDigits)
	if n == 0 || currency == "" || len(*r.problems) > had {
		return n
	}
	limits, known := limitsOf[currency]
	if !known {
		limits = amounts{least: 1, most: eightDigits, step: 1}
	}
	if n < limits.least || n > limits.most || n%limits.step != 0 {
		text := fmt.Sprintf("must be from %d to %d in this currency's minor unit, Stripe's limits", limits.least, limits.most)
		if limits.step > 1 {
			text += fmt.Sprintf(", and a multiple of %d", limits.step)
		}
		r.problem("amount", text)
	}
	return n
}
