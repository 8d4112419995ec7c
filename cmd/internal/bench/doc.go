// Package bench is `outboxd bench`: it measures a worker against what the database allows, in one run on one machine.
//
// # Nouns
//
// The ceiling is what MongoDB carries out of the two writes that each intent costs, with nothing else around them. A
// crew is one or more worker processes, each the same program as `outboxd worker` but for its provider, which does
// nothing; they run in processes of their own, so that their processor time and memory are theirs alone. Ballast is
// intents that lie beside those that are measured.
//
// # Guarantees
//
// A ratio compares two rounds that were made right after one another, since a machine that is shared gives other
// figures a minute later; of several rounds the median counts, and the least and the greatest are told. Round trips,
// document writes and bytes are the server's own counts, so nothing that a worker does can be missing from them.
// Every write waits for a majority and its journal. Everything is written into a database of its own, which is
// dropped at the end.
//
// # Failure
//
// Whatever goes wrong ends the run with an error; no figure is left out in silence. An interrupt ends the crew in good
// order and drops the database.
package bench
