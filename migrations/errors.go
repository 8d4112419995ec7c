package migrations

import (
	"context"
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

	// ErrForeign is returned when the collection was never an outbox and another program uses it: it holds documents
	// that are no intents, or has a validator. [Migrator.Adopt] takes it over all the same.
	ErrForeign = errors.New("the collection is not an outbox")

	// ErrOpenProgress is returned when the namespace cannot be replaced, because intents have begun at a provider
	// under it.
	ErrOpenProgress = errors.New("intents have open progress")

	// ErrNamespaceLost is returned when intents have begun at a provider under a namespace that is not there any
	// more. The error that wraps it says how to put it back.
	ErrNamespaceLost = errors.New("the namespace is lost")

	// ErrLeaseLost is returned when a migration ran longer than it could renew its lease, so that another process may
	// have taken over. What was applied stays; running it again completes the rest.
	ErrLeaseLost = errors.New("the migration's lease was lost")
)

// notMigrated says what is missing and what to run. Where the outbox was used already, its meta collection was lost,
// and only a backup has it.
func (m *Migrator) notMigrated(ctx context.Context, s state) error {
	have := fmt.Sprintf("has schema version %d, this outboxd needs %d", s.Version, latest().number)
	if s.Version >= latest().number {
		have = "has no namespace"
	}
	remedy := fmt.Sprintf("run `outboxd migrate --database %s --collection %s`", m.db.Name(), m.outbox)
	if found, err := read(ctx, m.db, m.layout); err == nil && m.refuseLost(ctx, s, found) != nil {
		remedy = fmt.Sprintf("it was used before, so %s is lost: restore that collection from the backup first (docs/backup.md), then %s", m.layout.meta, remedy)
	}
	return fmt.Errorf("database %s: collection %s %s; %s: %w", m.db.Name(), m.outbox, have, remedy, ErrNotMigrated)
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
