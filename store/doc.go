// Package store keeps intents in MongoDB: everything that outboxd says to the database is said here.
//
// # Nouns
//
// A [Store] serves one outbox collection and the side collections that derive from its name. A claim takes intents that
// are due, or whose lease ran out, under a new lease; the lease's token fences every later write. A settle writes what
// was decided. Consequences are what a settle brings along: follow-ups, and the update of a business document. A lane's
// document is what all workers share about one kind; a worker's document is its entry in the registry.
//
// # Guarantees
//
//   - No two claims hold one intent at one time by the database's clock: the claim is a conditional update of each
//     document, decided by $$NOW. Candidates are found beforehand by index alone, which is only a hint.
//   - A claim is handed out only once a majority has it; a settle is answered only then. Each write asks for
//     w: majority and j: true, each read names its read concern, and everything goes to the primary.
//   - A write under a token that no longer holds changes nothing.
//   - Consequences are written in the transaction that settles their intent. Where that cannot be made now, the outcome
//     alone is recorded in the intent, and whoever claims it next only tries the transaction. Only what the database
//     can never take is left out: as a dead letter, or with a note.
//   - What somebody else holds delays nobody but its own intent.
//   - The cost of a claim does not depend on what else is in the collection.
//
// # Failure
//
// A claim whose answer got lost is repeated under another token and then read back by both. What it took unseen is
// looked for and given back, unsent and without an attempt, until its lease is over. A document that a transaction
// holds is found out by one claim, within about a second, and left alone for a while by the next. A settle whose answer
// got lost returns an error, and the same call may be repeated: what was written already is recognised by the document
// itself, without any memory of the first call. Errors say nothing of what stands in documents, because the server
// quotes values in its messages; errors.As reaches the driver's error.
//
// A Store is safe for concurrent use. It starts no goroutine that outlives a call; those of the driver end with
// [Store.Close].
package store
