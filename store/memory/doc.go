// Package memory keeps intents in the memory of one process. It is for tests of what uses a store: it keeps every
// promise of package store, which one conformance suite proves of both, but nothing survives the process.
//
// # Nouns
//
// A [Store] holds documents as outbox.Parse documents them. Time is the process's own, so that in a bubble of
// testing/synctest leases run out as soon as everybody waits. Business documents for write_back stand beside the
// intents.
//
// # Guarantees and failure
//
// All methods are safe for concurrent use, each is atomic, and none blocks or starts a goroutine. An error comes only
// from a context that has ended; nothing was done then.
package memory
