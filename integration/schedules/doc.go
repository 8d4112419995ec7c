// Package schedules proves what outboxd promises over thousands of random crash schedules.
//
// # Nouns
//
// A schedule is drawn from one seed: a handful of intents, the policy of each lane, the faults of the providers, and
// the fates of the workers. A machine is one worker process: the real dispatcher, the real providers with the
// vendors' SDKs and net/http, cut off from the world whenever its fate says so. The world is the rest: the store, the
// simulated providers and the network between, all in one bubble of testing/synctest, so that days pass in
// milliseconds and no socket is opened.
//
// # What can happen
//
// A machine dies at its k-th operation, before or after that had its effect: a claim was made and its answer lost, a
// call was processed and its answer lost, progress or an outcome was stored and never acknowledged. A dead machine
// has no effect on anything from then on. A machine is stopped and drained. One operation on the database stalls for
// longer than a lease, and then goes on. The database goes away for a while, and what it was just doing may have been
// done. Connections are refused. Requests meet every fault that the simulator has, before and after they were
// processed. There are finitely many of all these.
//
// # What is checked
//
// Every intent ends, as done or dead, for the right reason; charges have at most one effect, and exactly one if done;
// e-mails and text messages have at most one under park and reconcile, and at least one if done; nothing expired is
// sent; no attempt is lost or counted twice; no lease runs out without a cause; follow-ups and write_back match the
// outcome.
//
// # Running
//
// OUTBOXD_SCHEDULES is how many schedules are run (10000; 500 with -short), OUTBOXD_SCHEDULES_SEED the seed of the
// first; each further one has the next seed. A failure prints its seed and the story of the schedule. The same seed
// draws the same schedule; the order of events within one instant, and the jitter by which lanes look for work, are
// not drawn from it.
package schedules
