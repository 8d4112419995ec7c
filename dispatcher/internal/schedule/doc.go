// Package schedule decides when a lane claims, and how much: a pure function of what the lane knows.
//
// The owner of a [State] tells it each event with [State.Apply], and asks after each with [State.Next] what to do now
// and when to ask again. Nothing in here waits, locks, draws from a shared source of chance or reads a clock. So a
// policy can be tested by tables, fuzzed, and simulated: thousands of intents in a fraction of a second.
//
// # The rules
//
// Each has a field of [Policy], with the reason. In short:
//
//   - A lane claims only what it has room for: free slots, the breaker's leave, rate tokens, an open gate.
//   - A claim that got all it asked for shows a backlog: the next follows as soon as many slots are free.
//   - A claim that got less is followed by a rest: short while the worker is busy, until the next known instant while
//     hints come, and a second otherwise.
//   - A hint is claimed by its name, beside what else is under way. Many hints are one reason to look.
//   - A lane that probes sends one intent, and waits for what comes of it.
//
// All instants are of one monotonic clock, the caller's.
package schedule
