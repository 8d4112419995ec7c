// Package dispatcher runs the lanes of a worker: it claims intents, attempts them through a provider, and settles what
// [outbox.Decide] says follows. It is the only package of the worker's core with goroutines of its own.
//
// # The loop of a lane
//
//	reserve ─▶ claim ─▶ fence ─▶ call ─▶ decide ─▶ settle
//
// # The states of a lane
//
// Five things keep a lane from claiming as much as it has slots for. Each has an event that begins it and one that ends
// it. [LaneStatus] names the first of those that are the case, in this order:
//
//	                 a person pauses it
//	        ┌──────────────────────────────────────▶ paused ── a person resumes it ──┐
//	        │ two intents are refused, none passes                                   │
//	        ├──────────────────────────────────────▶ held ──── a probe passes ───────┤
//	        │ the provider limits the rate                                           │
//	open ───┼──────────────────────────────────────▶ gated ─── its time is over ─────┼──▶ open
//	        │ calls fail too often                                                   │
//	        ├──────────────────────────────────────▶ broken ── probes succeed ───────┤
//	        │ two calls in a row get no answer                                       │
//	        └──────────────────────────────────────▶ broken ── the provider answers ─┘
//
// A held or a broken lane sends few intents, one at a time, to see whether it may send more. The other workers are told
// of the first four.
//
// A lane serves one kind, and one goroutine owns all that it knows. Claims and calls are goroutines that report to the
// owner; it tells each report to package schedule, a pure function, and does what that says. So a lane has no lock, and
// when to claim can be tested without one.
//
// A lane reserves before it claims: a free slot (its bulkhead), the breaker's leave, an open gate,
// no hold, no pause, and a rate token. So a provider that is down costs its intents nothing, neither an attempt nor
// their order, and other lanes do not notice.
//
// Slots are goroutines that live as long as the lane, with a queue before them. A lane of many slots with a backlog has
// two claims under way, and one whose calls are quick claims ahead a little; what has waited for a slot for a second is
// given back.
//
// # Refusals, limits, outages
//
// What a call meets may concern the intent, the lane or the provider; only what happens to other intents tells which.
//
// A refusal of credentials or account delays the intent alone. A second, different intent that is refused in the same
// way, while nothing passes, holds the lane. A held lane sends one intent at a time, as a probe. If the provider
// refuses an intent again after others have passed, the refusal is the intent's own: then it costs an attempt.
//
// After one call without an answer, the next ones go one at a time until the provider answers. Those probes cost no
// attempt, and nothing does that never reached the provider. If others were answered since an intent got no answer, the
// next failure is the intent's own: it costs an attempt, and counts neither against the breaker nor against the
// provider.
//
// Probes take any intent that is due, and avoid those that failed before. Look-ups have a gate of their own: what they
// meet delays look-ups, never the sending.
//
// # The fence
//
// A call is begun only while it can also end under its lease: until the instant the claim was sent, plus the lease,
// minus the call's timeout and a margin, by the local monotonic clock. [Config] is refused where that leaves no time.
// What cannot be begun in time is given back without an attempt.
//
// # Finding work
//
// While a worker is calm it listens to hints ([Dispatcher.Listen]): a lane without work then looks every fifteen
// seconds at what becomes due, is in time for that, and claims when a hint comes: just what the hint names, if it names
// something, and beside a claim that is under way. While it is busy it does not listen, since hints would cost the
// database more than they bring; a lane looks again within 25 to 60 ms. Where nobody gives hints it looks every second.
// A hint is never the truth: what it fails to tell is found by the next look.
//
// # Stopping
//
// [Dispatcher.Run] takes two contexts. When stop ends, nothing more is claimed, calls end by themselves, outcomes are
// settled, and Run returns. When abort ends, calls are cancelled; what they were doing is ambiguous and settled as
// that. Settling outlives both, for a bounded time after abort: what a provider did must not be forgotten.
//
// Each lane settles by itself. What needs no call is settled by a goroutine of its own, whatever the lanes are doing:
// what expired, and recorded outcomes whose consequences could not be written. An outcome whose intent somebody holds
// is settled again beside the others, until its lease is lost.
//
// While the database is away, outcomes wait in memory. They are bounded by what was claimed before, since without the
// database nothing is claimed.
package dispatcher
