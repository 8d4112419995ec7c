package twilio

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/twilio/twilio-go/client"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers"
)

type rule struct {
	class   outbox.Class
	code    string
	message string
}

// byCode holds the error codes that say more than their HTTP status (twilio.com/docs, "Error and warning dictionary").
var byCode = map[int]rule{
	20003: {outbox.Hold, outbox.CodeUnauthorized, "Twilio does not accept the credentials"},
	20429: {outbox.RateLimited, outbox.CodeRateLimited, "Twilio's limit of concurrent requests was reached"},
	20500: {outbox.Ambiguous, outbox.CodeServerError, "Twilio answered with a server error, which does not say whether it acted"},
	20503: {outbox.Ambiguous, outbox.CodeUnavailable, "Twilio is not available; it may have the message all the same"},
	21211: {outbox.Permanent, outbox.CodeBadRecipient, "the recipient's number is not valid"},
	21265: {outbox.Permanent, outbox.CodeBadRecipient, "the recipient is a short code"},
	21408: {outbox.Permanent, outbox.CodeForbidden, "the account may not send to the recipient's region"},
	21606: {outbox.Permanent, outbox.CodeRejected, "the sender cannot send text messages from this account"},
	21608: {outbox.Permanent, outbox.CodeForbidden, "the trial account may only send to verified numbers"},
	21610: {outbox.Permanent, outbox.CodeOptedOut, "the recipient has opted out of this sender's messages"},
	21611: {outbox.RateLimited, outbox.CodeSenderQueueFull, "the queue of this sender is full"},
	21612: {outbox.Permanent, outbox.CodeBadRecipient, "there is no route from this sender to the recipient"},
	21614: {outbox.Permanent, outbox.CodeBadRecipient, "the recipient's number is not a mobile number"},
	21635: {outbox.Permanent, outbox.CodeBadRecipient, "the recipient's number is a landline"},
}

// generalCodes are the thousand of Twilio's codes that concern the whole account (20429); a limit with another code
// names a sender or a resource.
const generalCodes = 20

// smallestCode is the least of Twilio's error codes; what others number as errors is less.
const smallestCode = 10_000

// failure says what an answer means, nil if its status is one of success. A refusal without Twilio's own body came from
// something in between, which tells nothing about the message.
func failure(ctx context.Context, call *providers.Call) *outbox.Failure {
	if f := call.Unanswered(ctx, Name); f != nil {
		return f
	}
	if call.OK() {
		return nil
	}
	status := call.Status()
	answer, own := readError(call)
	says := func(class outbox.Class, code, message string) *outbox.Failure {
		f := call.Failure(Name, class, code, message)
		if answer.Code != 0 {
			f.ProviderCode = strconv.Itoa(answer.Code)
		}
		f.RequestID = providers.Token(call.Header("Twilio-Request-Id"))
		f.LaneOpen = class == outbox.RateLimited && own && answer.Code/1000 != generalCodes
		return f
	}
	switch r, known := byCode[answer.Code]; {
	case !own && call.Refused():
		return call.NotTheProvider(Name)
	case known && status < 500:
		return says(r.class, r.code, r.message)
	case status == http.StatusUnauthorized:
		return says(outbox.Hold, outbox.CodeUnauthorized, "Twilio does not accept the credentials")
	case status == http.StatusForbidden:
		return says(outbox.Hold, outbox.CodeForbidden, "Twilio does not let this account do this")
	case status == http.StatusTooManyRequests:
		return says(outbox.RateLimited, outbox.CodeRateLimited, "Twilio's limit of concurrent requests was reached")
	case status == http.StatusBadGateway, status == http.StatusServiceUnavailable, status == http.StatusGatewayTimeout, status == http.StatusRequestTimeout:
		return says(outbox.Ambiguous, outbox.CodeUnavailable, "Twilio or a gateway before it is not available; it may have the message all the same")
	case status >= 500:
		return says(outbox.Ambiguous, outbox.CodeServerError, "Twilio answered with a server error, which does not say whether it acted")
	case !own:
		return call.Unreadable(ctx, Name)
	case status == http.StatusBadRequest:
		return says(outbox.Permanent, outbox.CodeRejected, "Twilio refused the message as it stands")
	case status == http.StatusNotFound, status == http.StatusMethodNotAllowed:
		return says(outbox.Hold, outbox.CodeNotTheProvider, "Twilio does not have the path that was called: check its base URL, the account SID, and what stands between")
	default:
		return says(outbox.Ambiguous, outbox.CodeUnclassified, "Twilio's answer fits no known rule")
	}
}

// readError reads Twilio's body of an error; own says that it is one: with a code of Twilio's, a message and the
// status.
func readError(call *providers.Call) (answer client.TwilioRestError, own bool) {
	if !call.Whole() || json.Unmarshal(call.Body(), &answer) != nil || answer.Code < smallestCode || answer.Message == "" || answer.Status == 0 {
		return client.TwilioRestError{}, false
	}
	return answer, true
}
