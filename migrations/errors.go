package migrations

import (
	"errors"
	"fmt"
	"slices"

	"go.mongodb.org/mongo-driver/v2/mongo"
)

var (
	// ErrNotMigrated is returned when the database's schema is older than this version needs, or not there at all.
	// The error that wraps it names the command to run.
	ErrNotMigrated = errors.New("the schema is not migrated")

	// ErrNewer is returned when a newer outboxd has migrated the database to a schema that this one cannot work with,
	// or that it would have to take back. The error that wraps it says what to do.
	ErrNewer = errors.New("the schema is newer than this outboxd")

	// ErrStandalone is returned when the server is neither member of a replica set nor a mongos. A standalone has no
	// transactions and no change streams.
	ErrStandalone = errors.New("the MongoDB server is a standalone")

	// ErrLeaseLost is returned when a migration ran longer than it could renew its lease, so that another process may
	// have taken over. What was applied stays; running it again completes the rest.
	ErrLeaseLost = errors.New("the migration's lease was lost")
)

func (m *Migrator) notMigrated(have int) error {
	return fmt.Errorf("database %s: collection %s has schema version %d, this outboxd needs %d; run `outboxd migrate --database %s --collection %s`: %w",
		m.db.Name(), m.outbox, have, latest().number, m.db.Name(), m.outbox, ErrNotMigrated)
}

func (m *Migrator) newer(have int) error {
	return fmt.Errorf("database %s: collection %s has schema version %d, this outboxd knows %d; use the outboxd release that migrated it, or a later one: %w",
		m.db.Name(), m.outbox, have, latest().number, ErrNewer)
}

// Codes of MongoDB's error table (src/mongo/base/error_codes.yml) that decide here.
const (
	codeLockTimeout                = 24
	codeNamespaceExists            = 48
	codeMaxTimeMSExpired           = 50
	codeIndexOptionsConflict       = 85
	codeIndexKeySpecsConflict      = 86
	codeWriteConflict              = 112
	codeConflictingOperation       = 117
	codeDocumentValidationFailure  = 121
	codePrimarySteppedDown         = 189
	codeExceededTimeLimit          = 262
	codeIndexBuildAborted          = 276
	codeIndexBuildAlreadyRunning   = 299
	codeNotWritablePrimary         = 10107
	codeDuplicateKey               = 11000
	codeInterruptedByStateChange   = 11602
	codeBackgroundOperationForDB   = 12586
	codeBackgroundOperationForColl = 12587
)

// passing reports whether a schema command that failed this way may succeed when it is repeated. All of them may have
// taken effect, so the caller looks before it repeats.
func passing(err error) bool {
	if mongo.IsNetworkError(err) || mongo.IsTimeout(err) {
		return true
	}
	se, ok := errors.AsType[mongo.ServerError](err)
	if !ok {
		return false
	}
	return slices.ContainsFunc([]int{codeLockTimeout, codeNamespaceExists, codeMaxTimeMSExpired, codeWriteConflict, codeConflictingOperation,
		codePrimarySteppedDown, codeExceededTimeLimit, codeIndexBuildAborted, codeIndexBuildAlreadyRunning, codeNotWritablePrimary,
		codeInterruptedByStateChange, codeBackgroundOperationForDB, codeBackgroundOperationForColl}, se.HasErrorCode)
}
