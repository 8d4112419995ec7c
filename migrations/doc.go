// Package migrations brings a MongoDB database to the schema that this version of outboxd needs, and holds the intent
// contract as data.
//
// # Nouns
//
// A version is a numbered, named list of steps, frozen once it is released: later versions add steps, they never
// change an old one. A step describes one object of the database: a collection, its validator, an index, a view. The
// schema a database must have is the fold of all versions, the later step for one object winning. The contract is
// data. The collection's validator, the JSON Schema of what a producer writes ([JSONSchema]) and the tests are
// derived from it, so that they cannot disagree.
//
// # Guarantees
//
// [Migrator.Up] compares each object with what the database holds and touches only what differs: a second run reads and
// writes nothing, and running it beside producers is safe. Several processes may run it at once: one works under a
// lease in the side collection <collection>_meta, the others wait for it and then find nothing to do. The lease is
// fenced by a token and timed by the database's clock. [Migrator.Plan] changes nothing.
//
// An outbox has a namespace: ten random characters, made once and never changed by a later run, which are part of every
// key at the providers. A collection that another program uses is refused before anything is changed.
//
// # Failure
//
// If a migrator dies, its lease ends by itself after half a minute. Each of its steps is complete or not begun. The
// next run goes on from there. Commands that need an exclusive lock give up quickly and are repeated with backoff,
// because a waiting one makes new transactions of producers fail. A database whose schema is newer is never changed.
// A standalone server is refused: it has neither transactions nor change streams.
//
// # Adding a version
//
// Add a file vN_<what>.go whose function returns the version's steps, append it to the list in versions.go, run the
// tests, and copy the hash that TestReleasedVersionsAreFrozen prints into its table. Never edit the steps, rules or
// descriptions of a version that is in that table: validators are compared byte for byte.
package migrations
