package sendgrid

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers"
)

// failure says what an answer means, nil if its status is one of success. The rules are those of SendGrid's pages "Mail
// Send", "Errors" and "Rate limits". The status comes first: it stands whatever became of the body.
func failure(ctx context.Context, call *providers.Call) *outbox.Failure {
	if f := call.Unanswered(ctx, Name); f != nil {
		return f
	}
	if call.OK() {
		return nil
	}
	field, own := firstError(call)
	says := func(class outbox.Class, code, message string) *outbox.Failure {
		f := call.Failure(Name, class, code, message)
		f.ProviderCode = field
		return f
	}
	if !own && call.Refused() {
		return call.NotTheProvider(Name)
	}
	switch status := call.Status(); status {
	case http.StatusUnauthorized:
		return says(outbox.Hold, outbox.CodeUnauthorized, "SendGrid does not accept the API key, or the account has no credits left")
	case http.StatusForbidden:
		// SendGrid says 403 for a sender that is not verified, which concerns this e-mail only. It also says 403 for
		// keys and accounts that are not allowed or blocked for a time, which concerns all e-mails. Only the former
		// names the field.
		if field == "from" {
			return says(outbox.Permanent, outbox.CodeForbidden, "the sender's address is not verified at SendGrid")
		}
		return says(outbox.Hold, outbox.CodeForbidden, "SendGrid does not let this key or account do this, or has blocked it for a time")
	case http.StatusTooManyRequests:
		f := says(outbox.RateLimited, outbox.CodeRateLimited, "SendGrid's rate limit was reached")
		f.LaneOpen = field != "" // it names what this e-mail has and others have not
		return f
	case http.StatusBadRequest:
		if strings.HasPrefix(field, "personalizations.") && strings.Contains(field, ".to.") {
			return says(outbox.Permanent, outbox.CodeBadRecipient, "SendGrid does not accept the recipient's address")
		}
		return says(outbox.Permanent, outbox.CodeRejected, "SendGrid refused the e-mail as it stands")
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return says(outbox.Hold, outbox.CodeNotTheProvider, "SendGrid does not have the path that was called: check its base URL, and what stands between")
	case http.StatusNotAcceptable, http.StatusRequestEntityTooLarge,
		http.StatusUnsupportedMediaType, http.StatusUnavailableForLegalReasons:
		return says(outbox.Permanent, outbox.CodeRejected, "SendGrid refused the e-mail as it stands")
	case http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusGatewayTimeout, http.StatusRequestTimeout:
		return says(outbox.Ambiguous, outbox.CodeUnavailable, "SendGrid or a gateway before it is not available; it may have the e-mail all the same")
	default:
		if status >= 500 {
			return says(outbox.Ambiguous, outbox.CodeServerError, "SendGrid answered with a server error, which does not say whether it acted")
		}
		return says(outbox.Ambiguous, outbox.CodeUnclassified, "SendGrid's answer fits no known rule")
	}
}

// firstError returns the name of the field that the first error is about, empty if it names none. own says that the
// body is SendGrid's own: errors with a message each.
func firstError(call *providers.Call) (field string, own bool) {
	var answer struct {
		Errors []struct {
			Message string  `json:"message"`
			Field   *string `json:"field"`
		} `json:"errors"`
	}
	if !call.Whole() || json.Unmarshal(call.Body(), &answer) != nil || len(answer.Errors) == 0 || answer.Errors[0].Message == "" {
		return "", false
	}
	if name := answer.Errors[0].Field; name != nil {
		field = providers.Token(*name)
	}
	return field, true
}
