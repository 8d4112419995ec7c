// Command chaos tries to break outboxd: it runs real workers against a real replica set and simulated providers,
// kills, freezes and cuts off whatever it can while producers write intents in transactions, lets everything heal,
// and proves from what everybody saw that nothing was lost and nothing done twice.
//
//	go run ./integration/chaos                      # five minutes, a new seed
//	go run ./integration/chaos --seed 7 --length 1m
//	go run ./integration/chaos --mongodb-uri …      # on a given cluster, whose members are left alone
//
// It exits with 0 if every promise was kept, with 1 and the seed if one was broken, and with 2 if it could not run.
// What was recorded is kept then, and with --keep. docs/chaos.md says what is done, what is proved, and what is
// excused.
//
// # Parts
//
// A stage is everything that runs: the replica set, the providers in a process of their own, the network between
// them, and slots, each of which has one worker at a time. The plan (package plan) says what happens to them.
// Producers keep a journal (package journal) on disk; the observer reads a change stream; the pulse is a plain client
// that shows when the database takes writes. The judge is package check.
package main
