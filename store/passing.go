package store

import (
	"errors"
	"slices"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver"
)

// What an error says about trying again. Only what can never succeed is a refusal: it is about the document, the
// command or the user's rights. Everything else means "not now", what nobody has heard of included: to wait for
// something that never comes shows, to drop something that was only late does not.

// never are the codes of a refusal among those below 10000 (the server's error_codes.yml).
var never = []int{
	2,   // BadValue
	4,   // NoSuchKey
	9,   // FailedToParse
	13,  // Unauthorized
	14,  // TypeMismatch
	15,  // Overflow
	16,  // InvalidLength
	20,  // IllegalOperation
	22,  // InvalidBSON
	28,  // PathNotViable
	29,  // NonExistentPath
	40,  // ConflictingUpdateOperators
	52,  // DollarPrefixedFieldName
	53,  // InvalidIdField
	54,  // NotSingleValueField
	55,  // InvalidDBRef
	56,  // EmptyFieldName
	57,  // DottedFieldName
	61,  // ShardKeyNotFound
	66,  // ImmutableField
	72,  // InvalidOptions
	73,  // InvalidNamespace
	115, // CommandNotSupported
	121, // DocumentValidationFailure
	165, // ViewDepthLimitExceeded
	166, // CommandNotSupportedOnView
	167, // OptionNotSupportedOnView
	171, // CannotIndexParallelArrays
	238, // NotImplemented
	263, // OperationNotSupportedInTransaction, such as a write to a capped collection
}

// later are the codes from 10000 on that are no refusal. The others are assertions about what was sent.
var later = []int{
	10058, // LegacyNotPrimary
	10107, // NotWritablePrimary
	11600, // InterruptedAtShutdown
	11601, // Interrupted
	11602, // InterruptedDueToReplStateChange
	12586, // BackgroundOperationInProgressForDatabase
	12587, // BackgroundOperationInProgressForNamespace
	13388, // StaleConfig
	13435, // NotPrimaryNoSecondaryOk
	13436, // NotPrimaryOrSecondary
	14031, // OutOfDiskSpace
	46841, // ClientMarkedKilled
}

// noPrimary are the codes of a server that is no primary any more, or is going away.
var noPrimary = []int{91, 189, 10058, 10107, 11600, 11602, 13435, 13436}

// refusal reports whether the database says no, so that the same can never succeed.
func refusal(err error) bool {
	if ofDriver(err) {
		return true
	}
	if hasLabel(err, labelTransient) || hasLabel(err, labelUnknown) || hasLabel(err, "RetryableWriteError") || mongo.IsNetworkError(err) || mongo.IsTimeout(err) {
		return false
	}
	server, ok := errors.AsType[mongo.ServerError](err)
	return ok && slices.ContainsFunc(server.ErrorCodes(), func(code int) bool {
		return slices.Contains(never, code) || code >= 10000 && code < 1_000_000 && !slices.Contains(later, code)
	})
}

// ofDriver reports whether the driver could not even send what it was given.
func ofDriver(err error) bool {
	_, marshal := errors.AsType[mongo.MarshalError](err)
	return marshal || errors.Is(err, driver.ErrDocumentTooLarge)
}

// contended reports whether somebody else holds what was to be written. Within a transaction the server says so at
// once.
func contended(err error) bool {
	return hasCode(err, codeWriteConflict) || hasCode(err, codeLockTimeout)
}

// away reports whether the database could not be reached or did not tell what became of it, so that nothing is known of
// any row.
func away(err error) bool {
	server, ok := errors.AsType[mongo.ServerError](err)
	return !ok || hasLabel(err, labelUnknown) || mongo.IsNetworkError(err) || mongo.IsTimeout(err) ||
		slices.ContainsFunc(server.ErrorCodes(), func(code int) bool { return slices.Contains(noPrimary, code) })
}

// outOfTime reports whether a write outside of a transaction took longer than it may: most likely it waited for a
// document or a collection that somebody else holds.
func outOfTime(err error) bool {
	return mongo.IsTimeout(err) || hasCode(err, codeMaxTime) || contended(err)
}
