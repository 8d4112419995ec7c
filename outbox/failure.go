package outbox

import (
	"fmt"
	"strings"
	"time"
)

// Class says what an attempt's outcome means for the effect, and so what follows it.
type Class string

// The classes of an outcome.
const (
	// Done: the provider has it.
	Done Class = "done"
	// Transient: surely not acted upon; it is tried again after a backoff. Counts as an attempt.
	Transient Class = "transient"
	// RateLimited: refused and not acted upon; the lane waits. Does not count as an attempt.
	RateLimited Class = "rate_limited"
	// Permanent: the provider's final no (a declined card, a bad number). Counts as an attempt.
	Permanent Class = "permanent"
	// Ambiguous: nobody can know whether the provider acted. Counts as an attempt.
	Ambiguous Class = "ambiguous"
	// Hold: our credentials or our account are wrong; the lane stops and shouts. Does not count as an attempt.
	Hold Class = "hold"
	// Invalid: the document breaks the contract and was never sent. Does not count as an attempt.
	Invalid Class = "invalid"
	// Expired: the intent's expires_at passed before it was sent. Does not count as an attempt.
	Expired Class = "expired"
)

// Business reports whether the class is an answer to the business (a decline), not trouble with the transport. Business
// answers never count against a breaker.
func (c Class) Business() bool { return c == Done || c == Permanent || c == Invalid || c == Expired }

// Failure is the verdict on an attempt that did not end with a receipt. Providers return it as their error.
//
// None of its fields may hold a payload, a phone number, an address or a secret: they go into last_error, logs and
// metrics.
type Failure struct {
	Class        Class
	Code         string        // one of [Codes]
	Message      string        // our own words, for a person
	Provider     string        // "stripe", "sendgrid", "twilio"; empty where no provider was involved
	ProviderCode string        // the provider's own code, where it has one
	HTTPStatus   int           // 0 if there was no answer
	RequestID    string        // the provider's id of the request, where it gave one
	RetryAfter   time.Duration // how long the provider asks to wait; 0 if it did not say
	LaneOpen     bool          // RateLimited or Hold concerns alone what the intent names: a sender, an account, a resource
	Cause        error         // for errors.Is and errors.As; never written into a document or a log
}

// Error describes the failure without its cause, which may hold what must not be logged.
func (f *Failure) Error() string {
	var b strings.Builder
	if f.Provider != "" {
		b.WriteString(f.Provider + ": ")
	}
	fmt.Fprintf(&b, "%s (%s)", f.Code, f.Class)
	if f.HTTPStatus != 0 {
		fmt.Fprintf(&b, ", HTTP %d", f.HTTPStatus)
	}
	if f.ProviderCode != "" {
		b.WriteString(", " + f.ProviderCode)
	}
	if f.Message != "" {
		b.WriteString(": " + f.Message)
	}
	return b.String()
}

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Cause }
