package stripe

import (
	"net/http"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers/providertest"
)

// declineCodes are those of docs.stripe.com, "Decline codes", but for the two that have rows of their own.
var declineCodes = []string{
	"approve_with_id", "call_issuer", "card_not_supported", "card_velocity_exceeded", "currency_not_supported",
	"do_not_honor", "do_not_try_again", "expired_card", "fraudulent", "generic_decline", "incorrect_address", "incorrect_cvc",
	"incorrect_number", "incorrect_pin", "incorrect_zip", "insufficient_funds", "invalid_account", "invalid_amount", "invalid_cvc",
	"invalid_expiry_month", "invalid_expiry_year", "invalid_number", "invalid_pin", "issuer_not_available", "lost_card",
	"merchant_blacklist", "new_account_information_available", "no_action_taken", "not_permitted", "offline_pin_required",
	"online_or_offline_pin_required", "pickup_card", "pin_try_exceeded", "processing_error", "reenter_transaction",
	"restricted_card", "revocation_of_all_authorizations", "revocation_of_authorization", "security_violation",
	"service_not_allowed", "stolen_card", "stop_payment_order", "testmode_decline", "transaction_not_allowed", "try_again_later",
	"withdrawal_count_limit_exceeded",
}

// cardCodes are the codes of card errors (docs.stripe.com, "Error codes") that come without a decline code.
var cardCodes = []string{
	"card_declined", "expired_card", "incorrect_cvc", "incorrect_number", "incorrect_zip", "processing_error", "card_decline_rate_limit_exceeded",
	"balance_insufficient", "amount_too_large", "postal_code_invalid", "insufficient_funds", "debit_not_authorized",
}

// invalidCodes are codes of invalid requests (docs.stripe.com, "Error codes") that a charge can meet.
var invalidCodes = []string{
	"amount_too_large", "amount_too_small", "api_key_expired", "customer_max_payment_methods", "email_invalid", "invalid_charge_amount",
	"parameter_invalid_empty", "parameter_invalid_integer", "parameter_invalid_string_blank", "parameter_missing", "parameter_unknown",
	"payment_method_unactivated", "payment_method_unsupported_type", "payment_method_customer_decline", "resource_missing",
	"tls_version_unsupported", "payment_method_currency_mismatch", "livemode_mismatch", "testmode_charges_only", "payment_intent_invalid_parameter",
	"intent_invalid_state", "setup_intent_unexpected_state", "url_invalid", "", "a_code_of_tomorrow",
}

// commonRows are the answers that mean the same for both requests, but for the class of a lost one.
func commonRows(lost outbox.Class) []providertest.Row {
	rows := []providertest.Row{
		{Name: "idempotency_key_in_use", Reply: refusal(409, "invalid_request_error", "idempotency_key_in_use", ""), Want: coded(outbox.Transient, outbox.CodeConflict, "idempotency_key_in_use")},
		{Name: "409 of type idempotency_error", Reply: refusal(409, "idempotency_error", "idempotency_key_in_use", ""), Want: want(outbox.Transient, outbox.CodeConflict)},
		{Name: "409 that is not to be retried", Reply: refusal(409, "invalid_request_error", "", "").With("Stripe-Should-Retry", "false"), Want: want(outbox.Transient, outbox.CodeConflict)},
		{Name: "lock timeout", Reply: refusal(429, "invalid_request_error", "lock_timeout", ""), Want: coded(outbox.Transient, outbox.CodeConflict, "lock_timeout")},
		{Name: "lock timeout with a reason", Reply: refusal(429, "invalid_request_error", "lock_timeout", "").With("Stripe-Rate-Limited-Reason", "global-concurrency"), Want: want(outbox.RateLimited, outbox.CodeRateLimited)},
		{Name: "rate limit", Reply: refusal(429, "invalid_request_error", "rate_limit", ""), Want: coded(outbox.RateLimited, outbox.CodeRateLimited, "rate_limit")},
		{Name: "rate_limit_error", Reply: refusal(429, "rate_limit_error", "", ""), Want: coded(outbox.RateLimited, outbox.CodeRateLimited, "rate_limit_error")},
		{Name: "rate_limit_error of another status", Reply: refusal(400, "rate_limit_error", "", ""), Want: want(outbox.RateLimited, outbox.CodeRateLimited)},
		{Name: "Retry-After in seconds", Reply: refusal(429, "invalid_request_error", "rate_limit", "").With("Retry-After", "3"), Want: waiting(3)},
		{Name: "Retry-After that is nonsense", Reply: refusal(429, "invalid_request_error", "rate_limit", "").With("Retry-After", "soon"), Want: want(outbox.RateLimited, outbox.CodeRateLimited)},
		{Name: "400 that is to be retried", Reply: refusal(400, "invalid_request_error", "", "").With("Stripe-Should-Retry", "true"), Want: want(outbox.Transient, outbox.CodeConflict)},
		{Name: "api_error of status 400", Reply: refusal(400, "api_error", "", ""), Want: want(lost, outbox.CodeUnclassified)},
		{Name: "an unknown type", Reply: refusal(400, "weather_error", "", ""), Want: coded(lost, outbox.CodeUnclassified, "weather_error")},
		{Name: "402 of an unknown type", Reply: refusal(402, "weather_error", "", ""), Want: want(outbox.Permanent, outbox.CodeRejected)},
		{Name: "a code that is no code", Reply: refusal(400, "invalid_request_error", "call +491511234567", ""), Want: want(outbox.Permanent, outbox.CodeRejected)},
		{Name: "500 api_error", Reply: refusal(500, "api_error", "", ""), Want: coded(lost, outbox.CodeServerError, "api_error")},
		{Name: "500 that is not to be retried", Reply: refusal(500, "api_error", "", "").With("Stripe-Should-Retry", "false"), Want: want(lost, outbox.CodeServerError)},
		{Name: "500 replayed", Reply: refusal(500, "api_error", "", "").With("Idempotent-Replayed", "true"), Want: want(lost, outbox.CodeReplayedError)},
		{Name: "503 replayed", Reply: refusal(503, "api_error", "", "").With("Idempotent-Replayed", "true"), Want: want(lost, outbox.CodeReplayedError)},
		{Name: "503 that may be retried", Reply: refusal(503, "api_error", "", "").With("Stripe-Should-Retry", "true"), Want: want(lost, outbox.CodeUnavailable)},
		{Name: "424", Reply: refusal(http.StatusFailedDependency, "api_error", "", ""), Want: want(lost, outbox.CodeUnavailable)},
		{Name: "expired key", Reply: refusal(401, "invalid_request_error", "api_key_expired", ""), Want: coded(outbox.Hold, outbox.CodeUnauthorized, "api_key_expired")},
		{Name: "account of another platform, none asked for", Reply: refusal(403, "invalid_request_error", "account_invalid", ""), Want: want(outbox.Hold, outbox.CodeForbidden)},
		{Name: "404 by the gateway", Reply: providertest.Reply{Status: 404, Body: "no such host here"}, Want: want(outbox.Hold, outbox.CodeNotTheProvider)},
		{Name: "404 of an object", Reply: refusal(404, "invalid_request_error", "resource_missing", ""), Want: coded(outbox.Permanent, outbox.CodeNotFound, "resource_missing")},
		{Name: "404 of a path", Reply: providertest.JSON(404, `{"error":{"message":"Unrecognized request URL (POST: /v1/v1/payment_intents).","type":"invalid_request_error"}}`), Want: want(outbox.Hold, outbox.CodeNotTheProvider)},
		{Name: "405 of a path", Reply: refusal(405, "invalid_request_error", "", ""), Want: want(outbox.Hold, outbox.CodeNotTheProvider)},
		{Name: "limit of a resource", Reply: refusal(429, "invalid_request_error", "rate_limit", "").With("Stripe-Rate-Limited-Reason", "resource-specific"), Want: providertest.Want{Class: outbox.RateLimited, Code: outbox.CodeRateLimited, LaneOpen: true}},
		{Name: "limit of an endpoint", Reply: refusal(429, "invalid_request_error", "rate_limit", "").With("Stripe-Rate-Limited-Reason", "endpoint-rate"), Want: want(outbox.RateLimited, outbox.CodeRateLimited)},
	}
	for _, code := range declineCodes {
		rows = append(rows, providertest.Row{Name: "declined: " + code, Reply: refusal(402, "card_error", "card_declined", code), Want: coded(outbox.Permanent, outbox.CodeDeclined, code)})
	}
	for _, code := range cardCodes {
		rows = append(rows, providertest.Row{Name: "card error: " + code, Reply: refusal(402, "card_error", code, ""), Want: coded(outbox.Permanent, outbox.CodeDeclined, code)})
	}
	rows = append(rows,
		providertest.Row{Name: "declined, replayed", Reply: refusal(402, "card_error", "card_declined", "lost_card").With("Idempotent-Replayed", "true"), Want: coded(outbox.Permanent, outbox.CodeDeclined, "lost_card")},
		providertest.Row{Name: "authentication_required", Reply: refusal(402, "card_error", "authentication_required", "authentication_required"), Want: coded(outbox.Permanent, outbox.CodeActionRequired, "authentication_required")},
	)
	for _, code := range invalidCodes {
		rows = append(rows, providertest.Row{Name: "invalid request: " + code, Reply: refusal(400, "invalid_request_error", code, ""), Want: want(outbox.Permanent, outbox.CodeRejected)})
	}
	return rows
}

var noneListed = providertest.JSON(200, `{"object":"list","url":"/v1/payment_intents","has_more":false,"data":[]}`)

func createRows() []providertest.Row {
	return append(commonRows(outbox.Transient),
		providertest.Row{Name: "idempotency_error", Reply: refusal(400, "idempotency_error", "", ""), After: []providertest.Reply{noneListed, unconfirmed, succeeded}, Want: done},
		providertest.Row{Name: "no id", Reply: providertest.JSON(200, `{"object":"payment_intent","status":"requires_confirmation"}`), Want: want(outbox.Transient, outbox.CodeBadAnswer)},
		providertest.Row{Name: "an id that is none", Reply: providertest.JSON(200, `{"id":"../../v1/refunds","status":"requires_confirmation"}`), Want: want(outbox.Transient, outbox.CodeBadAnswer)},
	)
}

func confirmRows() []providertest.Row {
	state := func(status string) providertest.Reply {
		return providertest.JSON(200, paymentIntent(status, ""))
	}
	declined := providertest.JSON(200, paymentIntent("requires_payment_method", lastError("card_error", "card_declined", "duplicate_transaction")))
	unexpected := refusal(400, "invalid_request_error", "payment_intent_unexpected_state", "")
	reused := refusal(400, "idempotency_error", "", "")
	duplicate := refusal(402, "card_error", "card_declined", "duplicate_transaction")
	down := providertest.Reply{Status: 503}
	follow := func(r providertest.Reply) []providertest.Reply { return []providertest.Reply{r} }
	return append(commonRows(outbox.Ambiguous),
		providertest.Row{Name: "requires_capture", Reply: state("requires_capture"), Want: done},
		providertest.Row{Name: "processing", Reply: state("processing"), Want: done},
		providertest.Row{Name: "requires_action", Reply: state("requires_action"), Want: want(outbox.Permanent, outbox.CodeActionRequired)},
		providertest.Row{Name: "requires_payment_method", Reply: state("requires_payment_method"), Want: want(outbox.Permanent, outbox.CodeDeclined)},
		providertest.Row{Name: "canceled", Reply: state("canceled"), Want: want(outbox.Permanent, outbox.CodeCanceled)},
		providertest.Row{Name: "still unconfirmed", Reply: state("requires_confirmation"), Want: want(outbox.Ambiguous, outbox.CodeUnclassified)},
		providertest.Row{Name: "an unknown state", Reply: state("requires_patience"), Want: coded(outbox.Ambiguous, outbox.CodeUnclassified, "requires_patience")},
		providertest.Row{Name: "another PaymentIntent", Reply: providertest.JSON(200, `{"id":"pi_3Other","status":"succeeded"}`), Want: want(outbox.Ambiguous, outbox.CodeBadAnswer)},

		providertest.Row{Name: "unexpected state, charged", Reply: unexpected, After: follow(succeeded), Want: done},
		providertest.Row{Name: "unexpected state, unconfirmed", Reply: unexpected, After: follow(unconfirmed), Want: coded(outbox.Permanent, outbox.CodeRejected, "payment_intent_unexpected_state")},
		providertest.Row{Name: "unexpected state, cancelled", Reply: unexpected, After: follow(state("canceled")), Want: want(outbox.Permanent, outbox.CodeCanceled)},
		providertest.Row{Name: "unexpected state, not to be asked", Reply: unexpected, After: follow(down), Want: want(outbox.Ambiguous, outbox.CodeCannotTell)},
		providertest.Row{Name: "idempotency_error, charged", Reply: reused, After: follow(succeeded), Want: done},
		providertest.Row{Name: "idempotency_error, unconfirmed", Reply: reused, After: follow(unconfirmed), Want: want(outbox.Permanent, outbox.CodeKeyReused)},
		providertest.Row{Name: "idempotency_error, not to be asked", Reply: reused, After: follow(down), Want: want(outbox.Ambiguous, outbox.CodeCannotTell)},
		providertest.Row{Name: "duplicate_transaction, charged", Reply: duplicate, After: follow(succeeded), Want: done},
		providertest.Row{Name: "duplicate_transaction, declined", Reply: duplicate, After: follow(declined), Want: coded(outbox.Permanent, outbox.CodeDeclined, "duplicate_transaction")},
		providertest.Row{Name: "duplicate_transaction, not to be asked", Reply: duplicate, After: follow(down), Want: coded(outbox.Ambiguous, outbox.CodeCannotTell, "duplicate_transaction")},
	)
}

func coded(class outbox.Class, code, providerCode string) providertest.Want {
	return providertest.Want{Class: class, Code: code, ProviderCode: providerCode}
}

func waiting(seconds int) providertest.Want {
	return providertest.Want{Class: outbox.RateLimited, Code: outbox.CodeRateLimited, RetryAfter: seconds}
}
