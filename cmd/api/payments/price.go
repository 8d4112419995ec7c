package payments

import (
	"strconv"
	"strings"
)

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
