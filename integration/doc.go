// Package integration holds the tests of the whole: real processes, a real MongoDB, and the providers' simulators in a
// process of their own.
//
// Each test has a database of its own on the server that package mongotest finds, and starts what it needs of the
// programs as any deployment does: outboxd migrate, worker and sim, and outbox-api. They are built once for each run of
// the tests, with the race detector where the tests have it; a race in a program makes it end with a code that no test
// expects. What a program printed is shown where its test failed.
//
// Nothing waits for a length of time: what a test waits for is asked of the database or a simulator again and again,
// with a deadline that says what did not happen.
package integration
