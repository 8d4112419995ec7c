package store

import (
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/outboxd/outboxd/outbox"
)

// Errors of this package. Everything else it returns wraps the driver's error.
var (
	// ErrStandalone is returned by Connect for a server that is no member of a replica set: it has neither transactions
	// nor change streams.
	ErrStandalone = errors.New("the server is a standalone, without transactions and change streams; start it with --replSet and run rs.initiate()")
	// ErrNoPrimary is returned by Ready while the server that answers is no primary.
	ErrNoPrimary = errors.New("the replica set has no primary")
	// ErrNoWatch is returned by Watch where the database refuses change streams: the privilege is missing, or the
	// server has none. Polling goes on without it.
	ErrNoWatch = errors.New("the database refuses a change stream; grant the action changeStream on the database, or rely on polling")
	// ErrNotFound is returned by Get for an id that no intent has.
	ErrNotFound = outbox.ErrNotFound
	// ErrChanged is returned by RetryDead, Resolve and Cancel where the intent is no longer what was read.
	ErrChanged = outbox.ErrChanged
)

// Server error codes that decide something here. Source: the server's error_codes.yml.
const (
	codeLockTimeout          = 24
	codeWriteConflict        = 112
	codeMaxTime              = 50 // MaxTimeMSExpired
	codeUnauthorized         = 13
	codeAuthenticationFailed = 18

	codeDuplicateKey  = 11000
	codeValidation    = 121
	codeNotReplicaSet = 40573
	codeNotSupported  = 115

	codeTooLarge       = 10334 // BSONObjectTooLarge
	codeUpdateTooLarge = 17419 // the same of the result of an update
)

// nameOf returns the server's name of a code that may arrive without it.
func nameOf(code int) string {
	switch code {
	case codeUnauthorized:
		return "Unauthorized"
	case codeLockTimeout:
		return "LockTimeout"
	case codeWriteConflict:
		return "WriteConflict"
	case codeValidation:
		return "DocumentValidationFailure"
	case codeTooLarge, codeUpdateTooLarge:
		return "BSONObjectTooLarge"
	case codeDuplicateKey:
		return "DuplicateKey"
	default:
		return "an error"
	}
}

// failure says what was being done when the driver's error arose. Its text never holds the server's message, which
// quotes values of documents; errors.Is and errors.As reach the driver's error.
type failure struct {
	doing string
	err   error
}

func (f *failure) Error() string { return f.doing + ": " + reason(f.err) }

func (f *failure) Unwrap() error { return f.err }

// failed wraps an error of the driver; it returns nil for nil.
func failed(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &failure{fmt.Sprintf(format, args...), err}
}

// reason describes a driver's error in words that hold no value of any document.
func reason(err error) string {
	if server, ok := errors.AsType[mongo.ServerError](err); ok {
		if command, ok := errors.AsType[mongo.CommandError](err); ok && command.Name != "" {
			return fmt.Sprintf("MongoDB answered %s (code %d)", command.Name, command.Code)
		}
		if codes := server.ErrorCodes(); len(codes) > 0 {
			return fmt.Sprintf("MongoDB answered %s (code %d)", nameOf(codes[0]), codes[0])
		}
		if mongo.IsNetworkError(err) {
			return "the connection to MongoDB broke"
		}
		return "MongoDB refused it"
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded), mongo.IsTimeout(err):
		return "timed out: " + err.Error()
	default:
		return err.Error()
	}
}

// hasCode reports whether the server answered with the code.
func hasCode(err error, code int) bool {
	server, ok := errors.AsType[mongo.ServerError](err)
	return ok && server.HasErrorCode(code)
}

// hasLabel reports whether the driver or the server labelled the error so.
func hasLabel(err error, label string) bool {
	labeled, ok := errors.AsType[mongo.LabeledError](err)
	return ok && labeled.HasErrorLabel(label)
}
