// Package storetest is the conformance suite of stores: what the dispatcher relies on, tried out on an implementation.
//
// # Nouns
//
// A [Harness] gives the suite an empty store and a hand in its documents: instead of waiting for a lease to run out, a
// test changes due_at. Documents are in the values that outbox.Parse documents, whatever the store keeps.
//
// # Guarantees and failure
//
// After each test all documents are checked against the rules of the contract, whatever the test was about. No test
// sleeps. Each test has a store of its own and may run beside the others.
package storetest
