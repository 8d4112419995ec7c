// Package check judges a run of outboxd under faults by what everybody saw of it: the producers' journal of what they
// were told, the providers' effects, the database as it is at the end, every change of it on the way as a change
// stream showed it, and what was done to the workers. It knows nothing of how the run was made, so that it can be
// tested with histories that are wrong on purpose.
//
// # Nouns
//
// A [History] is all of that. A [Violation] is a promise that was broken, with the rule's name, the intent and what
// was seen. A [Report] holds the violations and the totals. A [Span] is a time in which something was wrong with a
// worker or with its way to the database.
//
// # What is excused
//
// Nothing but this. E-mail and text messages carry no key, so a worker that the operating system freezes between its
// last look at the clock and the provider's answer, until its lease is over, can send what another worker has sent
// meanwhile. Such a duplicate is counted apart, and only believed where the worker was frozen in that very time. An
// intent with the policy "retry" may have several effects, which is what the policy says.
package check
