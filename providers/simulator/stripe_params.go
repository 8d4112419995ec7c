package simulator

import (
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// createInput is a valid POST /v1/payment_intents.
type createInput struct {
	amount                                        int64
	currency, customer, description, receiptEmail string
	descriptor, descriptorSuffix, confirmation    string
	metadata                                      map[string]string
	types                                         []string
	noRedirects                                   bool // the payment methods chosen at creation never redirect
	confirm                                       bool
	confirmInput
}

// confirmInput is what decides a confirmation, at creation or later.
type confirmInput struct {
	method, capture, futures               string
	offSession, errorOnAction, returnURLOK bool
}

var (
	// What each call takes: a plain name takes a value, one with [] a list, one with {} an object.
	createParams = strings.Fields(`amount currency customer payment_method confirm off_session error_on_requires_action metadata{}
		description statement_descriptor statement_descriptor_suffix receipt_email capture_method confirmation_method
		payment_method_types[] automatic_payment_methods{} return_url setup_future_usage shipping{} mandate mandate_data{}
		payment_method_options{} payment_method_data{} payment_method_configuration on_behalf_of transfer_data{} transfer_group
		application_fee_amount use_stripe_sdk radar_options{} expand[]`)
	confirmParams = strings.Fields(`payment_method off_session error_on_requires_action return_url receipt_email capture_method
		setup_future_usage shipping{} mandate mandate_data{} payment_method_options{} payment_method_data{} payment_method_types[]
		use_stripe_sdk radar_options{} expand[]`)
	cancelParams = strings.Fields(`cancellation_reason expand[]`)

	currencyPattern = regexp.MustCompile(`^[a-zA-Z]{3}$`)
	emailPattern    = regexp.MustCompile(`^[^@\s]+@[^@\s]+\.[^@\s]+$`)
	metadataPattern = regexp.MustCompile(`^metadata\[([^\[\]]+)\]$`)

	// smallest is Stripe's minimum charge for the currencies tests use most (docs.stripe.com, "Supported currencies").
	smallest = map[string]int64{"usd": 50, "eur": 50, "gbp": 30, "jpy": 50}
)

// What Stripe takes at most: eight digits (docs.stripe.com, "Create a PaymentIntent", amount), more in a few currencies
// ("Supported currencies").
const largestAmount = 99_999_999

// largest are the exceptions.
func largest(currency string) int64 {
	switch currency {
	case "inr":
		return 999_999_999
	case "cop", "huf", "jpy":
		return 9_999_999_999
	case "lbp":
		return 99_999_999_999
	case "idr":
		return 999_999_999_999
	default:
		return largestAmount
	}
}

// badParam finds a parameter that a call does not take, or not in that shape. An empty value unsets whatever it is.
func badParam(form url.Values, known []string) *stripeError {
	for name := range form {
		base, inner, nested := strings.Cut(name, "[")
		key, _, _ := strings.Cut(inner, "]")
		index := nested && strings.Trim(key, "0123456789") == ""
		value, list, object := slices.Contains(known, base), slices.Contains(known, base+"[]"), slices.Contains(known, base+"{}")
		switch {
		case !value && !list && !object:
			return stripeInvalid("parameter_unknown", name, "Received unknown parameter: "+name)
		case nested && (object || index && list), !nested && (value || form.Get(name) == ""):
		default:
			return stripeInvalid("", base, "Invalid "+base+": it is not of the right type.")
		}
	}
	return nil
}

// readEnum reads a parameter that takes one of a few values.
func readEnum(form url.Values, name string, values ...string) (string, *stripeError) {
	if v := form.Get(name); v == "" || slices.Contains(values, v) {
		return v, nil
	}
	return "", stripeInvalid("", name, "Invalid "+name+": must be one of "+strings.Join(values, ", ")+".")
}

func readBool(form url.Values, name string) (bool, *stripeError) {
	switch form.Get(name) {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	}
	return false, stripeInvalid("", name, "Invalid boolean: "+form.Get(name))
}

func readCreate(form url.Values) (createInput, *stripeError) {
	var in createInput
	if bad := badParam(form, createParams); bad != nil {
		return in, bad
	}
	for _, name := range []string{"amount", "currency"} {
		if form.Get(name) == "" {
			return in, stripeInvalid("parameter_missing", name, "Missing required param: "+name+".")
		}
	}
	in.currency = strings.ToLower(form.Get("currency"))
	if !currencyPattern.MatchString(in.currency) {
		return in, stripeInvalid("", "currency", "Invalid currency: "+in.currency+".")
	}
	amount, err := strconv.ParseInt(form.Get("amount"), 10, 64)
	switch {
	case err != nil:
		return in, stripeInvalid("parameter_invalid_integer", "amount", "Invalid integer: "+form.Get("amount"))
	case amount < max(smallest[in.currency], 1):
		return in, stripeInvalid("amount_too_small", "amount", "Amount must be at least the smallest chargeable amount of the currency.")
	case amount > largest(in.currency):
		return in, stripeInvalid("amount_too_large", "amount", "Amount must be no more than "+strconv.FormatInt(largest(in.currency), 10)+" in the smallest unit of the currency.")
	}
	in.amount = amount
	if in.customer = form.Get("customer"); in.customer != "" && !strings.HasPrefix(in.customer, "cus_") {
		return in, stripeInvalid("resource_missing", "customer", "No such customer: '"+in.customer+"'")
	}
	if in.receiptEmail = form.Get("receipt_email"); in.receiptEmail != "" && !emailPattern.MatchString(in.receiptEmail) {
		return in, stripeInvalid("email_invalid", "receipt_email", "Invalid email address.")
	}
	if in.descriptorSuffix = form.Get("statement_descriptor_suffix"); len(in.descriptorSuffix) > 22 {
		return in, stripeInvalid("", "statement_descriptor_suffix", "The statement descriptor suffix must be at most 22 characters.")
	}
	in.description, in.descriptor = form.Get("description"), form.Get("statement_descriptor")
	var bad *stripeError
	if in.confirmation, bad = readEnum(form, "confirmation_method", "automatic", "manual"); bad != nil {
		return in, bad
	}
	if in.metadata, bad = readMetadata(form); bad != nil {
		return in, bad
	}
	for name, values := range form {
		if strings.HasPrefix(name, "payment_method_types[") {
			in.types = append(in.types, values...)
		}
	}
	slices.Sort(in.types)
	in.noRedirects = len(in.types) > 0 || form.Get("automatic_payment_methods[allow_redirects]") == "never" ||
		form.Get("automatic_payment_methods[enabled]") == "false"
	if in.confirm, bad = readBool(form, "confirm"); bad != nil {
		return in, bad
	}
	if in.confirmInput, bad = readConfirmation(form); bad != nil {
		return in, bad
	}
	if !in.confirm {
		// docs.stripe.com, "Create a PaymentIntent": these three can only be used with confirm=true.
		for _, name := range []string{"off_session", "error_on_requires_action", "return_url"} {
			if form.Get(name) != "" && form.Get(name) != "false" {
				return in, stripeInvalid("", name, "This parameter can only be used with confirm=true: "+name+".")
			}
		}
	}
	return in, nil
}

func readConfirm(form url.Values) (confirmInput, *stripeError) {
	if bad := badParam(form, confirmParams); bad != nil {
		return confirmInput{}, bad
	}
	return readConfirmation(form)
}

func readConfirmation(form url.Values) (in confirmInput, bad *stripeError) {
	if in.method = form.Get("payment_method"); in.method != "" && !strings.HasPrefix(in.method, "pm_") &&
		!strings.HasPrefix(in.method, "card_") && !strings.HasPrefix(in.method, "src_") {
		return in, stripeInvalid("resource_missing", "payment_method", "No such PaymentMethod: '"+in.method+"'")
	}
	// off_session may also be "one_off" or "recurring".
	if v := form.Get("off_session"); v == "one_off" || v == "recurring" {
		in.offSession = true
	} else if in.offSession, bad = readBool(form, "off_session"); bad != nil {
		return in, bad
	}
	if bad != nil {
		return in, bad
	}
	if in.errorOnAction, bad = readBool(form, "error_on_requires_action"); bad != nil {
		return in, bad
	}
	if in.capture, bad = readEnum(form, "capture_method", "automatic", "automatic_async", "manual"); bad != nil {
		return in, bad
	}
	in.futures, bad = readEnum(form, "setup_future_usage", "off_session", "on_session")
	in.returnURLOK = form.Get("return_url") != ""
	return in, bad
}

func readCancel(form url.Values) (string, *stripeError) {
	if bad := badParam(form, cancelParams); bad != nil {
		return "", bad
	}
	return readEnum(form, "cancellation_reason", "duplicate", "fraudulent", "requested_by_customer", "abandoned")
}

// readMetadata enforces the published limits: 50 keys of 40 characters, values of 500 (docs.stripe.com, "Metadata").
func readMetadata(form url.Values) (map[string]string, *stripeError) {
	out := map[string]string{}
	for name := range form {
		if !strings.HasPrefix(name, "metadata") {
			continue
		}
		m := metadataPattern.FindStringSubmatch(name)
		if m == nil {
			return nil, stripeInvalid("", "metadata", "Invalid metadata: want a flat set of key-value pairs.")
		}
		if len(m[1]) > 40 || len(form.Get(name)) > 500 {
			return nil, stripeInvalid("", name, "Metadata keys have at most 40 characters and values at most 500.")
		}
		out[m[1]] = form.Get(name)
	}
	if len(out) > 50 {
		return nil, stripeInvalid("", "metadata", "Metadata has at most 50 keys.")
	}
	return out, nil
}
