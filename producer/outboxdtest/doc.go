// Package outboxdtest checks the documents of a producer in unit tests, without a database. It has the rules of the
// collection's validator, and gives the same reasons as error 121 does.
//
// The rules are those of one version of outboxd: of the module's version that a test is compiled with. They are
// generated from the contract, and held against a real validator.
package outboxdtest
