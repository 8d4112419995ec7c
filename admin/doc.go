// Package admin is what operators do with an outbox: look, find out, decide, and change by hand. The web page, its API
// and the command line call the same functions of a [Service], so that all of them allow and refuse the same.
//
// It holds no rule of its own about intents: those are pure functions of package outbox. It speaks to the database by
// the interfaces [Reader], [State], [Operator], [Jobs] and [Audit]. Every change is recorded in the audit before it is
// made, and once more when it is over.
package admin
