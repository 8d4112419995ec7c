package payments

import (
	"context"
	"errors"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/outboxd/outboxd/migrations"
)

// Problem is one thing that is wrong with a request. Field is empty where it is none of the body's fields.
type Problem struct{ Code, Msg, Field string }

// Refused is returned for a request that was understood and is refused for what it says. It lists everything that is
// wrong, and never repeats a value of the request.
type Refused struct{ Problems []Problem }

// Error lists the codes.
func (r *Refused) Error() string {
	codes := make([]string, len(r.Problems))
	for i, p := range r.Problems {
		codes[i] = p.Code
	}
	return "refused: " + strings.Join(codes, ", ")
}

// Refuse returns the refusal of one code, in the words of its meaning.
func Refuse(code string) *Refused { return &Refused{[]Problem{problem(code, "")}} }

func problem(code, field string) Problem {
	for _, c := range Codes() {
		if c.Code == code {
			return Problem{code, c.Meaning, field}
		}
	}
	panic("payments: no meaning for the code " + code) // a new code without its line in Codes
}

// Unreadable is returned for a body that is no JSON object, or that two readers could read in two ways.
type Unreadable string

// Error says why. It never repeats a part of the body.
func (u Unreadable) Error() string { return string(u) }

// ErrInFlight is returned while another request under the same idempotency key is under way.
var ErrInFlight = errors.New("a request under this Idempotency-Key is under way; repeat it in a moment")

// Codes of MongoDB's error table (src/mongo/base/error_codes.yml).
const (
	writeConflict    = 112
	duplicateKeyCode = 11000
)

// notPrimary are the codes by which a server says that it is no primary now.
var notPrimary = []int{91, 189, 10107, 11600, 11602, 13435, 13436}

// Unavailable reports whether MongoDB could not be reached, gave up in the middle of a failover, or took too long.
func Unavailable(err error) bool {
	if mongo.IsTimeout(err) || mongo.IsNetworkError(err) || errors.Is(err, mongo.ErrClientDisconnected) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return true
	}
	if l, ok := errors.AsType[mongo.LabeledError](err); ok &&
		(l.HasErrorLabel("TransientTransactionError") || l.HasErrorLabel("UnknownTransactionCommitResult")) {
		return true
	}
	se, ok := errors.AsType[mongo.ServerError](err)
	return ok && slices.ContainsFunc(notPrimary, se.HasErrorCode)
}

// LogAttrs describes a failure for a log, without a value of any document: an error's text can hold one.
func LogAttrs(err error) []any {
	var attrs []any
	for _, reason := range migrations.Reasons(err) {
		attrs = append(attrs, "refused", reason.String())
	}
	if se, ok := errors.AsType[mongo.ServerError](err); ok {
		attrs = append(attrs, "mongodb_codes", se.ErrorCodes())
	}
	switch {
	case mongo.IsTimeout(err), errors.Is(err, context.DeadlineExceeded):
		return append(attrs, "cause", "timeout")
	case mongo.IsNetworkError(err):
		return append(attrs, "cause", "network")
	case errors.Is(err, context.Canceled):
		return append(attrs, "cause", "the client left")
	default:
		return append(attrs, "cause", "database")
	}
}
