package sendgrid

import (
	"context"
	"net/http"

	"github.com/sendgrid/rest"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers"
)

// Deliver sends the e-mail once, in one request; save is not needed. ctx must have a deadline. The error is nil or an
// *outbox.Failure. The receipt's id is SendGrid's X-Message-Id, with which the ids of its events begin.
func (p *Provider) Deliver(ctx context.Context, in *outbox.Intent, _ func(context.Context, outbox.Progress) error) (outbox.Receipt, error) {
	email, ok := in.Payload.(*outbox.Email)
	if !ok {
		return outbox.Receipt{}, refused("the intent's payload is not an e-mail", nil)
	}
	data, err := body(in, email)
	if err != nil {
		return outbox.Receipt{}, refused("the template's data holds a value that JSON cannot express", err)
	}
	call := p.send(ctx, rest.Post, "/v3/mail/send", data)
	switch call.Status() {
	case http.StatusAccepted: // whatever became of the body, which has nothing to say
	case http.StatusOK: // the sandbox's answer has no body; a page with one is not SendGrid's
		if !call.Whole() || len(call.Body()) > 0 {
			return outbox.Receipt{}, call.Unreadable(ctx, Name)
		}
	default:
		if f := failure(ctx, call); f != nil {
			return outbox.Receipt{}, f
		}
		return outbox.Receipt{}, call.Failure(Name, outbox.Ambiguous, outbox.CodeUnclassified, "SendGrid's answer fits no known rule")
	}
	return outbox.Receipt{Provider: Name, ID: providers.Token(call.Header("X-Message-Id")), Status: "accepted"}, nil
}

// refused is the failure of an intent that cannot be made into a request.
func refused(message string, cause error) *outbox.Failure {
	return &outbox.Failure{Class: outbox.Permanent, Code: outbox.CodeRejected, Provider: Name, Message: message, Cause: cause}
}
