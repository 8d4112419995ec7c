package admin

import (
	"errors"
	"fmt"

	"github.com/outboxd/outboxd/outbox"
)

// Code names a refusal for programs. The codes are part of the API and do not change.
type Code string

// The codes of an [Error].
const (
	IntentNotFound    Code = "intent_not_found"
	MayHaveActed      Code = "may_have_acted"
	AmbiguousVerdict  Code = "ambiguous_needs_verdict"
	FinalForRecipient Code = "final_for_recipient"
	Expired           Code = "expired"
	Changed           Code = "changed"
	LaneUnknown       Code = "lane_unknown"
	ReasonMissing     Code = "reason_missing"
	PlanOutdated      Code = "plan_outdated"
	ApprovalMissing   Code = "approval_missing"
	SelfApproval      Code = "self_approval"
	NotIndexed        Code = "not_indexed"
	FilterTooWide     Code = "filter_too_wide"
	JobNotRunning     Code = "job_not_running"
	NotAllowed        Code = "not_allowed" // the rules of retry, cancel, resolve or discard refuse it; the text says why
	JobNotFound       Code = "job_not_found"
	ProviderUnknown   Code = "provider_unknown" // this process has no keys of the provider
)

// Error is a refusal for a reason of the business: the request was understood, and nothing was changed.
type Error struct {
	Code    Code
	Text    string         // for a person: what is in the way, and what to do
	Details map[string]any // figures and names, by what they are; may be nil
	cause   error
}

// Error returns the text.
func (e *Error) Error() string { return e.Text }

// Unwrap returns what the refusal was made from.
func (e *Error) Unwrap() error { return e.cause }

// Forbidden is a request that the actor's roles do not allow.
type Forbidden struct {
	Role Role   // that is missing; empty: it is the kind that is not theirs
	Kind string // of the intent or lane
}

// Error says which role is missing.
func (e *Forbidden) Error() string {
	if e.Role == "" {
		return fmt.Sprintf("kind %q is not among those that you may touch", e.Kind)
	}
	return fmt.Sprintf("that takes the role %s", e.Role)
}

func refuse(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Text: fmt.Sprintf(format, args...)}
}

// business makes a refusal with its code of what a rule or the store refused. Other errors stay as they are.
func business(err error) error {
	if err == nil {
		return nil
	}
	if refusal, ok := errors.AsType[*outbox.Refusal](err); ok {
		code := NotAllowed
		if refusal.Cause != "" {
			code = Code(refusal.Cause)
		}
		return &Error{Code: code, Text: refusal.Why, cause: err}
	}
	if no, ok := errors.AsType[*outbox.NotIndexed](err); ok {
		return &Error{Code: NotIndexed, Text: no.Error(), Details: map[string]any{"field": no.Field}, cause: err}
	}
	switch {
	case errors.Is(err, outbox.ErrNotFound):
		return &Error{Code: IntentNotFound, Text: outbox.ErrNotFound.Error(), cause: err}
	case errors.Is(err, outbox.ErrChanged):
		return &Error{Code: Changed, Text: outbox.ErrChanged.Error(), cause: err}
	default:
		return err
	}
}

// codeOf returns the code for the audit.
func codeOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return string(e.Code)
	}
	if _, ok := errors.AsType[*Forbidden](err); ok {
		return "forbidden"
	}
	return ""
}
