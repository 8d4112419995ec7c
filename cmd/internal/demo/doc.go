// Package demo shows the whole story on one machine: a MongoDB, the three providers simulated, the reference API, and
// a worker in a process of its own, with a few hundred intents that meet everything that can go wrong. Payments are
// ordered from the API over HTTP; where the demo is left running, its shop sells more.
//
// # Nouns
//
// The stage is what runs: database, simulators, API, worker. The story is a list of acts; an act is a number of
// intents that meet the same thing, and says how they must end. The board shows where the intents are while it plays.
// The reckoning compares, at the end, what the database says with the effects that the simulators counted.
//
// # What it proves
//
// Every intent is matched with its effects one by one. An intent that is done had exactly one effect; one that is
// dead or cancelled had none, unless it is ambiguous: then it had at most one. No effect belongs to nobody. If
// anything of that is not so, or an act ended in another way than it must, the demo fails.
//
// # For those who write producers
//
// [Develop] sets the same stage without a story: it waits for intents of somebody else's, and tells the life of each.
//
// The worker is given the simulators' addresses and made-up credentials only: real ones are kept from it.
package demo
