package simulator

import "net/http"

// stripeError is the body of an error answer (docs.stripe.com, "Errors").
type stripeError struct {
	status        int
	Type          string         `json:"type"`
	Code          string         `json:"code,omitempty"`
	DeclineCode   string         `json:"decline_code,omitempty"`
	AdviceCode    string         `json:"advice_code,omitempty"`
	Message       string         `json:"message"`
	Param         string         `json:"param,omitempty"`
	Charge        string         `json:"charge,omitempty"`
	DocURL        string         `json:"doc_url,omitempty"`
	PaymentIntent *intent        `json:"payment_intent,omitempty"`
	PaymentMethod map[string]any `json:"payment_method,omitempty"`
}

func (e stripeError) reply() reply {
	if e.Code != "" {
		e.DocURL = "https://stripe.com/docs/error-codes/" + e.Code
	}
	return jsonReply(e.status, map[string]any{"error": e})
}

func stripeInvalid(code, param, message string) *stripeError {
	return &stripeError{status: http.StatusBadRequest, Type: "invalid_request_error", Code: code, Param: param, Message: message}
}

func noSuchIntent(id string) reply {
	return stripeError{status: http.StatusNotFound, Type: "invalid_request_error", Code: "resource_missing", Param: "intent",
		Message: "No such payment_intent: '" + id + "'"}.reply()
}

// failure is Stripe's way of saying a status without a cause of its own.
func (p *stripeAPI) failure(status int) reply {
	e := stripeError{status: status, Type: "api_error", Message: "An unknown error occurred."}
	switch {
	case status == http.StatusPaymentRequired:
		e.Type, e.Code, e.DeclineCode, e.Message = "card_error", "card_declined", "generic_decline", "Your card was declined."
	case status == http.StatusConflict:
		e.Type, e.Code, e.Message = "invalid_request_error", "idempotency_key_in_use", "There is currently another in-progress request using this idempotency key."
	case status == http.StatusTooManyRequests:
		e.Type, e.Code, e.Message = "invalid_request_error", "rate_limit", "Too many requests hit the API too quickly."
	case status == http.StatusUnauthorized:
		e.Type, e.Message = "invalid_request_error", "Invalid API Key provided."
	case status == http.StatusForbidden:
		e.Type, e.Message = "invalid_request_error", "The API key does not have permission for this request."
	case status >= 400 && status < 500:
		e.Type, e.Message = "invalid_request_error", "Invalid request."
	}
	rep := e.reply()
	rep.header.Set("Request-Id", newID("req_", 14))
	return rep
}

// decline is how a test payment method fails.
type decline struct{ code, declineCode, advice, message string }

// declines are Stripe's test payment methods (docs.stripe.com, "Testing", "Declined payments"), without pm_card_ and
// without the card's brand, which some of the published names carry.
var declines = map[string]decline{
	"chargeDeclined":                      {"card_declined", "generic_decline", "try_again_later", "Your card was declined."},
	"chargeDeclinedInsufficientFunds":     {"card_declined", "insufficient_funds", "try_again_later", "Your card has insufficient funds."},
	"chargeDeclinedLostCard":              {"card_declined", "lost_card", "do_not_try_again", "Your card was declined."},
	"chargeDeclinedStolenCard":            {"card_declined", "stolen_card", "do_not_try_again", "Your card was declined."},
	"chargeDeclinedFraudulent":            {"card_declined", "fraudulent", "do_not_try_again", "Your card was declined."},
	"chargeDeclinedExpiredCard":           {"expired_card", "expired_card", "do_not_try_again", "Your card has expired."},
	"chargeDeclinedIncorrectCvc":          {"incorrect_cvc", "incorrect_cvc", "confirm_card_data", "Your card's security code is incorrect."},
	"chargeDeclinedProcessingError":       {"processing_error", "processing_error", "try_again_later", "An error occurred while processing your card. Try again in a little bit."},
	"chargeDeclinedVelocityLimitExceeded": {"card_declined", "card_velocity_exceeded", "try_again_later", "Your card was declined for making repeated attempts too frequently or exceeding its amount limit."},
}

// authenticationRequired is the decline of a card that wants its owner while the owner is away.
var authenticationRequired = decline{"authentication_required", "authentication_required", "", "Your card was declined. This transaction requires authentication."}
