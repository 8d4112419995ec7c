package stripe

import (
	"context"
	"errors"
	"net/http"

	stripe "github.com/stripe/stripe-go/v76"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers"
)

const (
	declinedMessage = "the card was declined"
	actionMessage   = "the payment needs the customer's authentication, and the customer is not there"
)

// Codes of Stripe's that decide something. The SDK has no constant for the two that end in comments.
const (
	codeAuthentication  = "authentication_required"
	codeDuplicate       = "duplicate_transaction"
	codeUnexpectedState = string(stripe.ErrorCodePaymentIntentUnexpectedState)
	codeLockTimeout     = string(stripe.ErrorCodeLockTimeout)
	codeAccountInvalid  = string(stripe.ErrorCodeAccountInvalid)
	codeNoPlatform      = string(stripe.ErrorCodePlatformAccountRequired)
	typeRateLimit       = "rate_limit_error"  // the type that 429 answers may carry
	reasonResource      = "resource-specific" // of Stripe-Rate-Limited-Reason
)

// failure says what a call's answer means, nil if it is a success whose body was read. account is the Connect account
// that the request named, if any. The rules are those of Stripe's pages "Errors", "Error codes", "Idempotent requests",
// "Low-level error handling" and "Rate limits"; the order matters.
func failure(ctx context.Context, call *providers.Call, err error, account string) *outbox.Failure {
	if f := call.Unanswered(ctx, Name); f != nil {
		return f
	}
	if call.OK() {
		if err != nil || !call.Whole() {
			return call.Unreadable(ctx, Name)
		}
		return nil
	}
	answer, own := ownError(call, err)
	says := func(class outbox.Class, code, message string) *outbox.Failure {
		f := call.Failure(Name, class, code, message)
		f.ProviderCode = providerCode(answer)
		f.RequestID = providers.Token(call.Header("Request-Id"))
		return f
	}
	code, status := string(answer.Code), call.Status()
	switch {
	case !own && call.Refused():
		return call.NotTheProvider(Name)
	case own && code == "" && status == http.StatusNotFound, own && status == http.StatusMethodNotAllowed:
		// An object that Stripe does not know has a code: resource_missing. This is a path that it does not have.
		return says(outbox.Hold, outbox.CodeNotTheProvider, "Stripe does not have the path that was called: check its base URL, and what stands between")
	case (status == http.StatusForbidden || status == http.StatusUnauthorized) && account != "" && (code == codeAccountInvalid || code == codeNoPlatform):
		return says(outbox.Permanent, outbox.CodeForbidden, "the API key has no access to the Connect account that the payload names")
	case status == http.StatusUnauthorized:
		return says(outbox.Hold, outbox.CodeUnauthorized, "Stripe does not accept the API key")
	case status == http.StatusForbidden:
		f := says(outbox.Hold, outbox.CodeForbidden, "the API key may not do this")
		f.LaneOpen = account != "" // what it may not do there says nothing about our own account
		return f
	case status == http.StatusTooManyRequests && code == codeLockTimeout && call.Header("Stripe-Rate-Limited-Reason") == "":
		return says(outbox.Transient, outbox.CodeConflict, "another request holds Stripe's lock on the object")
	case status == http.StatusTooManyRequests, own && string(answer.Type) == typeRateLimit:
		f := says(outbox.RateLimited, outbox.CodeRateLimited, "Stripe's rate limit was reached")
		f.LaneOpen = call.Header("Stripe-Rate-Limited-Reason") == reasonResource
		return f
	case status >= 500 && call.Header("Idempotent-Replayed") == "true":
		return says(outbox.Ambiguous, outbox.CodeReplayedError, "Stripe replays a stored server error under this key")
	case status == http.StatusBadGateway, status == http.StatusServiceUnavailable, status == http.StatusGatewayTimeout:
		return says(outbox.Ambiguous, outbox.CodeUnavailable, "Stripe or a gateway before it is not available")
	case status >= 500:
		return says(outbox.Ambiguous, outbox.CodeServerError, "Stripe answered with a server error, which does not say whether it acted")
	case status == http.StatusRequestTimeout:
		return says(outbox.Ambiguous, outbox.CodeUnavailable, "Stripe or a gateway before it gave up waiting for the request")
	case status == http.StatusFailedDependency:
		return says(outbox.Ambiguous, outbox.CodeUnavailable, "a service that Stripe depends on failed")
	case !own:
		f := call.Unreadable(ctx, Name)
		f.RequestID = providers.Token(call.Header("Request-Id"))
		return f
	case status == http.StatusConflict:
		return says(outbox.Transient, outbox.CodeConflict, "Stripe is busy with another request under the same key")
	case answer.Type == stripe.ErrorTypeIdempotency:
		return says(outbox.Permanent, outbox.CodeKeyReused, "the key was used with other parameters: the intent's payload was changed, or two intents share an id")
	case answer.Type == stripe.ErrorTypeCard:
		f := says(outbox.Permanent, outbox.CodeDeclined, declinedMessage)
		decline(f, answer)
		return f
	case call.Header("Stripe-Should-Retry") == "true":
		return says(outbox.Transient, outbox.CodeConflict, "Stripe refused the request for now and asks to repeat it")
	case answer.Type == stripe.ErrorTypeInvalidRequest && status == http.StatusNotFound:
		return says(outbox.Permanent, outbox.CodeNotFound, "Stripe does not know an object that the payload names")
	case answer.Type == stripe.ErrorTypeInvalidRequest:
		return says(outbox.Permanent, outbox.CodeRejected, "Stripe refused the request as it stands")
	case status == http.StatusPaymentRequired:
		return says(outbox.Permanent, outbox.CodeRejected, "Stripe could not carry out the payment")
	default:
		return says(outbox.Ambiguous, outbox.CodeUnclassified, "Stripe's answer fits no known rule")
	}
}

// ownError returns what Stripe said; own is false, and the error zero, if the body is not Stripe's error object.
func ownError(call *providers.Call, err error) (answer *stripe.Error, own bool) {
	said, ok := errors.AsType[*stripe.Error](err)
	if !ok || !call.Whole() || said.Type == "" {
		return new(stripe.Error), false
	}
	return said, true
}

// decline names the reason of a declined payment.
func decline(f *outbox.Failure, answer *stripe.Error) {
	f.ProviderCode = providerCode(answer)
	if string(answer.Code) == codeAuthentication || string(answer.DeclineCode) == codeAuthentication {
		f.Code, f.Message = outbox.CodeActionRequired, actionMessage
	}
}

// providerCode is the most exact code that Stripe gave.
func providerCode(answer *stripe.Error) string {
	for _, code := range []string{string(answer.DeclineCode), string(answer.Code), string(answer.Type)} {
		if code != "" {
			return providers.Token(code)
		}
	}
	return ""
}

// leavesDoubt reports whether another confirmation of the same PaymentIntent, or of the same payment, may be the
// reason why a confirmation was refused. Only the PaymentIntent can then tell what is true.
func leavesDoubt(f *outbox.Failure) bool {
	return f.Class == outbox.Permanent &&
		(f.Code == outbox.CodeKeyReused || f.ProviderCode == codeUnexpectedState || f.ProviderCode == codeDuplicate)
}
