package providertest

import (
	"context"
	"testing"
	"time"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers"
)

// Provider is what the suite tests; the dispatcher's interface and a check of the credentials.
type Provider interface {
	Deliver(ctx context.Context, in *outbox.Intent, save func(context.Context, outbox.Progress) error) (outbox.Receipt, error)
	LookUp(ctx context.Context, in *outbox.Intent) (outbox.Answer, error)
	Check(ctx context.Context) error
}

// LookUp is the Run of a step that is a look-up.
func LookUp(in func() *outbox.Intent) func(context.Context, Provider) (outbox.Receipt, bool, error) {
	return func(ctx context.Context, p Provider) (outbox.Receipt, bool, error) {
		answer, err := p.LookUp(ctx, in())
		return answer.Receipt, answer.Found, err
	}
}

// Suite describes one provider.
type Suite struct {
	Name string
	// New makes the provider for a base URL.
	New func(tb testing.TB, url string, transport *providers.Transport) Provider
	// Forbidden are the texts that must not show anywhere: credentials, numbers, addresses, payload.
	Forbidden []string
	// CheckGood is the answer that Check is content with.
	CheckGood Reply
	Steps     []Step
}

// Step is one request of the provider's API.
type Step struct {
	Name   string
	Before []Reply // the good answers to the requests that lead up to it
	Good   Reply   // the good answer to it
	After  []Reply // the good answers to the requests that follow a good answer to it
	// Run makes the provider go through the requests of Before and then the step's. found is true if the effect is
	// there.
	Run func(ctx context.Context, p Provider) (receipt outbox.Receipt, found bool, err error)
	// Question says that the request only asks. net/http may repeat such a request by itself.
	Question bool
	// Silence is the class of a request that was sent and went unanswered.
	Silence outbox.Class
	// Broken is what is wanted if an answer with Good's status is empty, cut off, too large, or no JSON.
	Broken Want
	// Error is the provider's own body for an error of the given status, full of what is forbidden.
	Error func(status int) string
	// Statuses says what each status from 200 to 599 means; where several rules match, the last one holds.
	Statuses []Status
	Rows     []Row
}

// Status says what a range of HTTP statuses means.
type Status struct {
	From, To int
	Own      Want // with the provider's own body: Good's for a success, Error's else
	Other    Want // with a body that is empty, cut off or not the provider's
	Empty    Want // with an empty body, if that differs from Other
}

// Row is one answer to the step's request.
type Row struct {
	Name  string
	Reply Reply
	After []Reply // answers to the requests that follow it; all must come. Those of the step, if Want is Done
	Want  Want
}

// Want is what the provider must make of an answer. Done means that the effect is there, no class at all that it is not
// (a look-up that found nothing).
type Want struct {
	Class        outbox.Class
	Code         string
	ProviderCode string // compared if not empty
	ReceiptID    string // compared if not empty
	LaneOpen     bool
	RetryAfter   int // seconds
}

// Reply is one answer of the scripted server.
type Reply struct {
	Status int
	// Header holds the headers. The values "@epoch+N" and "@date+N" become the instant N seconds (which may be
	// negative) after the answer's Date, in epoch seconds or as an HTTP date.
	Header map[string]string
	Body   string
	Fault  Fault
	Skew   time.Duration // how far the server's clock, and so the answer's Date, is ahead
	// Then, if set, is called when the request was read and before it is answered.
	Then func()
}

// Fault is a way to fail below HTTP.
type Fault int

// The faults of a [Reply].
const (
	None        Fault = iota
	Hang              // reads the request and never answers
	ResetUnread       // resets the connection without reading the request
	ResetRead         // reads the request and resets the connection
	Drop              // reads the request and closes the connection
	Truncate          // announces the whole body, sends half of it, and closes
	Stall             // announces the whole body, sends half of it, and then nothing
	Flood             // sends a gigabyte, as long as somebody reads
)

// JSON is an answer with a JSON body.
func JSON(status int, body string) Reply {
	return Reply{Status: status, Header: map[string]string{"Content-Type": "application/json"}, Body: body}
}

// With returns the reply with one more header.
func (r Reply) With(name, value string) Reply {
	header := map[string]string{name: value}
	for n, v := range r.Header {
		if n != name {
			header[n] = v
		}
	}
	r.Header = header
	return r
}
