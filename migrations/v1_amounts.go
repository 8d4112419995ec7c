package migrations

import (
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// The limits of amounts follow Stripe's page "Supported currencies" (docs.stripe.com/currencies) and, for the
// currencies that it does not name, the API reference of "Create a PaymentIntent", which allows eight digits. All are
// in the unit in which Stripe takes the amount, which is not always ISO 4217's.
const (
	v1Digits     = 99_999_999      // eight digits
	v1MostDigits = 999_999_999_999 // twelve digits, the most for any currency
)

// v1Amount is a limit of some currencies.
type v1Amount struct {
	limit      int64
	currencies []string
}

// v1MostAmounts are the currencies for which more than eight digits are published ("Maximum charge amounts").
var v1MostAmounts = []v1Amount{
	{999_999_999, []string{"inr"}},
	{9_999_999_999, []string{"cop", "huf", "jpy"}},
	{99_999_999_999, []string{"lbp"}},
	{v1MostDigits, []string{"idr"}},
}

// v1LeastAmounts are the published minimums ("Minimum charge amount by currency"). They hold for an account that
// settles in the currency of the charge. An account that settles in another currency has that one's minimum after
// conversion, which only Stripe can tell.
var v1LeastAmounts = []v1Amount{
	{30, []string{"gbp"}},
	{50, []string{"usd", "ars", "aud", "brl", "cad", "chf", "cop", "eur", "idr", "ils", "inr", "jpy", "krw", "nzd", "php", "rub", "sgd", "zar"}},
	{100, []string{"bgn"}},
	{200, []string{"aed", "myr", "pln", "ron"}},
	{250, []string{"dkk"}},
	{300, []string{"nok", "sek"}},
	{400, []string{"hkd"}},
	{1_000, []string{"mxn", "thb"}},
	{1_500, []string{"czk"}},
	{17_500, []string{"huf"}},
}

// v1Steps are the currencies whose amounts must be multiples. Stripe takes three-decimal currencies in thousandths,
// and wants the last digit to be 0 ("Three-decimal currencies"). ISK and UGX have no fractions, but are still written
// with two decimals, which must be 00 ("Special cases"). HUF and TWD have such a rule for payouts only.
var v1Steps = []v1Amount{
	{10, []string{"bhd", "jod", "kwd", "omr", "tnd"}},
	{100, []string{"isk", "ugx"}},
}

// v1Amounts returns the rules that tie the amount to the currency. A currency that is a reference is checked when it is
// known, before the parent is sent.
func (v vocabulary) v1Amounts() bson.A {
	is := func(currencies []string) bson.E {
		return bson.E{Key: "currency", Value: rule{{Key: "enum", Value: names(currencies)}}}
	}
	amount := func(keyword string, n int64) bson.E {
		return bson.E{Key: "amount", Value: rule{{Key: keyword, Value: n}}}
	}
	fields := func(list ...bson.E) rule { return rule{{Key: "properties", Value: bson.D(list)}} }
	others := func(list []v1Amount) rule { // what the list does not name, and what is not known yet
		var all []string
		for _, a := range list {
			all = append(all, a.currencies...)
		}
		slices.Sort(all)
		return fields(bson.E{Key: "currency", Value: rule{{Key: "not", Value: rule{{Key: "enum", Value: names(all)}}}}})
	}

	most := bson.A{fields(amount("maximum", v1Digits))}
	if v.references {
		most = append(most, fields(bson.E{Key: "currency", Value: rule{{Key: "pattern", Value: anyReference}}}))
	}
	for _, a := range v1MostAmounts {
		most = append(most, fields(is(a.currencies), amount("maximum", a.limit)))
	}
	least := bson.A{fields(amount("minimum", v1LeastAmounts[len(v1LeastAmounts)-1].limit)), others(v1LeastAmounts)}
	for _, a := range v1LeastAmounts {
		least = append(least, fields(is(a.currencies), amount("minimum", a.limit)))
	}
	steps := bson.A{others(v1Steps)}
	for _, a := range v1Steps {
		steps = append(steps, fields(is(a.currencies), amount("multipleOf", a.limit)))
	}
	return bson.A{
		described("largest amount of a currency", "amount must be from 1 to 99999999 in the currency's minor unit, eight digits (INR nine digits, COP, HUF and JPY ten, LBP eleven, IDR twelve), Stripe's limits.",
			bson.E{Key: "anyOf", Value: most}),
		described("smallest amount of a currency", "amount is below Stripe's minimum for the currency, such as 50 for USD and EUR, 30 for GBP, 50 for JPY (see \"Minimum charge amount by currency\" in Stripe's documentation). amount is in the minor unit: 1999 for 19.99 EUR.",
			bson.E{Key: "anyOf", Value: least}),
		described("steps of a currency", "amount must be a multiple of 10 for BHD, JOD, KWD, OMR and TND (5120 for 5.12 KWD), and of 100 for ISK and UGX (500 for 5 ISK), Stripe's rules.",
			bson.E{Key: "anyOf", Value: steps}),
	}
}
