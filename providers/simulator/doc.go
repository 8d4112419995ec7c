// Package simulator runs Stripe, SendGrid and Twilio on this machine. Its three HTTP servers speak the three APIs
// truly enough for the vendors' own SDKs. On demand they fail as the real ones fail.
//
// # Nouns
//
// A [Sim] holds all state. An [Effect] is something the world would notice: money moved (a PaymentIntent that became
// succeeded, requires_capture or processing), an e-mail accepted, a text message created. Effects are counted apart
// from requests: a replayed, refused or repeated request has no effect, and an effect whose answer was lost is still
// one. A [Fault] is a scripted lie. The clock of a Sim can be moved forward. So a day at the provider takes no time
// in a test: Stripe forgets idempotency keys after 24 hours.
//
// # Guarantees
//
// One PaymentIntent has at most one effect. A request that met a fault "before" processing has no effect, one that met
// a fault "after" processing has had its effect. The order and the outcome of faults depend only on the script and the
// requests, never on a random source without a seed. Everything is in memory and is lost at the end.
// A Sim is safe for concurrent use. No lock is held while a fault waits.
//
// # Failure handling
//
// A request body beyond the provider's limit is refused with 413 and not kept. [Sim.Close] ends every hanging request,
// delay and callback, and returns when all of them are gone. A request whose client went away during a delay is
// processed all the same, as it is at a real provider.
//
// # Control endpoints
//
// Every one of the three listeners also answers these, as JSON:
//
//	GET    /_sim/effects    all effects; ?provider=, ?outbox_id= and ?outbox_ns= filter,
//	                        ?format=lines gives one object a line
//	GET    /_sim/requests   number of requests per provider, route and status (0: no answer was given)
//	GET    /_sim/wait       returns once ?requests=N have arrived or ?effects=N have happened;
//	                        ?provider= ?route= ?timeout=30s
//	GET    /_sim/faults     the faults that can still fire, with how often they matched and fired
//	POST   /_sim/faults     adds one fault or an array of faults
//	DELETE /_sim/faults     removes all faults
//	GET    /_sim/clock      the simulated time
//	POST   /_sim/clock      {"advance":"25h"} moves the clock forward
//	GET    /_sim/settings   the delays below
//	POST   /_sim/settings   {"search_lag":"1m","logs_delay":"10m","queue_delay":"1s","latency":"50ms"}, each optional
//	POST   /_sim/reset      forgets everything, faults and clock included
//	GET    /_sim/healthz    200
//
// # Faults
//
// A fault is one JSON object; all fields but "do" are optional:
//
//	{
//	  "provider": "stripe" | "sendgrid" | "twilio",     // any, if absent
//	  "route":    "create",                             // any, if absent; the routes are listed below
//	  "match": {
//	    "outbox_id": "…",          // as the request carries it (for Stripe's confirm: as the PaymentIntent carries it)
//	    "to": "…",                 // recipient; for Stripe the customer
//	    "key": "…",                // Idempotency-Key
//	    "nth": 2,                  // fires from the n-th matching request on (default 1)
//	    "times": 3,                // fires this often (default 1; -1: without end)
//	    "probability": 0.2,        // fires for this share of the matching requests; decided by "seed", the request's
//	    "seed": 42                 // identity and how often it came, so that concurrency does not change the outcome
//	  },
//	  "when": "before" | "after",  // before (default): the provider did not act; after: it acted, the answer is changed
//	  "do": "status",              // answers "status" with "body", else with the provider's own words for that status
//	      // "reset": TCP RST · "drop": connection closed without an answer · "hang": no answer until the client leaves
//	      // "truncate": half of the answer, then the end · "html": a proxy's error page, 502 unless "status" is given
//	      // "garbage": an answer that is no JSON · "empty": an answer without body · "flood": a body of "size" bytes
//	      // "redirect": 302 unless "status" is given · "delay": the true answer, late
//	  "status": 503,               // 200–599
//	  "body": "…",
//	  "headers": {"Retry-After": "3", "X-RateLimit-Reset": "+3"},  // +N: the epoch second N seconds from now
//	  "delay": "250ms",            // waited before the fault (or, with "after", between processing and answer)
//	  "size": 1073741824,          // for "flood"
//	  "saved": true                // Stripe and "status" only: stored under the idempotency key, and replayed
//	}
//
// One request meets at most one fault: the first in the order of the script that matches and has something left.
// Where "status" is not given, truncate, garbage, empty and flood keep the true answer's status after processing, and
// use 502 before it.
//
// A fault of an unknown provider, route, deed or moment is refused with 400 and the known ones. Routes: Stripe
// create, confirm, cancel, retrieve, list, search, account, balance; SendGrid send, logs, log, scopes; Twilio send,
// list, fetch, account; and "unknown" for every other path. A fault without a route meets every route but the
// harmless questions that a worker asks when it starts (account, balance, scopes): those have to be named.
//
// # Magic values
//
// Stripe's test payment methods (docs.stripe.com, "Testing", card declines) decline as they do there, for example
// pm_card_chargeDeclined or pm_card_visa_chargeDeclinedInsufficientFunds; pm_card_authenticationRequired wants 3-D
// Secure; pm_usBankAccount_success stays in processing; every other pm_… succeeds. Twilio's test numbers
// (twilio.com/docs, "Test credentials", magic numbers) are refused with their published codes; every other
// well-formed number is accepted.
package simulator
