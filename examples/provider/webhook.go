package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers"
)

const (
	kind = "webhook"
	name = "crm" // of the provider, in last_error, logs and metrics
)

// event is the payload of kind webhook.
type event struct {
	Event string `json:"event"`
	Order string `json:"order"`
}

// webhook tells events to a system that knows the Idempotency-Key: an event that comes twice counts once.
type webhook struct {
	url    string
	client *http.Client
}

// Deliver sends the event in one request.
func (p *webhook) Deliver(ctx context.Context, in *outbox.Intent, _ func(context.Context, outbox.Progress) error) (outbox.Receipt, error) {
	e, failure := read(in)
	if failure != nil {
		return outbox.Receipt{}, failure
	}
	body, err := json.Marshal(e)
	if err != nil {
		return outbox.Receipt{}, invalid("the payload cannot be written as JSON")
	}
	ctx, call := providers.Track(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return outbox.Receipt{}, invalid("the request cannot be made; check WEBHOOK_URL")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", in.Key("event"))
	if resp, err := p.client.Do(req); err == nil {
		_ = resp.Body.Close() // the call has it all
	}
	return receipt(ctx, call)
}

// LookUp cannot tell: the other system has nothing to ask. So the policy is retry, which the key makes harmless.
func (p *webhook) LookUp(context.Context, *outbox.Intent) (outbox.Answer, error) {
	return outbox.Answer{}, &outbox.Failure{Class: outbox.Ambiguous, Code: outbox.CodeCannotTell, Provider: name, Message: "events cannot be looked up"}
}

// read checks the payload, which the validator does not know.
func read(in *outbox.Intent) (event, *outbox.Failure) {
	payload, ok := in.Payload.(map[string]any)
	if !ok {
		return event{}, invalid("the payload is not a document")
	}
	var e event
	e.Event, _ = payload["event"].(string)
	e.Order, _ = payload["order"].(string)
	if e.Event == "" || e.Order == "" {
		return event{}, invalid("the payload needs event and order, both strings")
	}
	return e, nil
}

func invalid(message string) *outbox.Failure {
	return &outbox.Failure{Class: outbox.Permanent, Code: outbox.CodeRejected, Provider: name, Message: message}
}

// receipt says what became of the call: the one place with this system's rules.
func receipt(ctx context.Context, call *providers.Call) (outbox.Receipt, error) {
	if failure := call.Unanswered(ctx, name); failure != nil {
		return outbox.Receipt{}, failure // not_sent is transient, silence is ambiguous
	}
	var answer struct{ ID, Error string }
	own := call.Whole() && json.Unmarshal(call.Body(), &answer) == nil
	switch status := call.Status(); {
	case call.OK() && own && answer.ID != "":
		return outbox.Receipt{Provider: name, ID: providers.Token(answer.ID)}, nil
	case call.OK():
		return outbox.Receipt{}, call.Unreadable(ctx, name)
	case status == http.StatusTooManyRequests:
		return outbox.Receipt{}, call.Failure(name, outbox.RateLimited, outbox.CodeRateLimited, "too many events at once")
	case call.Refused() && (!own || answer.Error == ""):
		return outbox.Receipt{}, call.NotTheProvider(name)
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return outbox.Receipt{}, call.Failure(name, outbox.Hold, outbox.CodeUnauthorized, "the system refuses our credentials")
	case call.Refused():
		return outbox.Receipt{}, call.Failure(name, outbox.Permanent, outbox.CodeRejected, "the system refuses this event")
	default:
		return outbox.Receipt{}, call.Failure(name, outbox.Ambiguous, outbox.CodeServerError, "an error that does not say whether the event was taken")
	}
}
