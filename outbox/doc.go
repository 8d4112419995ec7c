// Package outbox is the domain of outboxd: what an intent is, and what follows an attempt to carry it out.
// It is pure: no I/O, no clock, no goroutine, nothing outside the standard library.
//
// # Nouns
//
// An [Intent] is one document that an application wrote beside its business data: an effect (a charge, an e-mail, an
// SMS) that shall happen. A worker claims it under a [Lease], and asks [Next] what may be done with it now. It
// attempts the effect, and hands the [Verdict] to [Decide]. The answer is a [Decision]: the state to write. Writing
// it is called settling; a settle is fenced by the lease's token.
//
//	            claim                      settle
//	pending ───────────▶ leased ─────────────────────────▶ done
//	   ▲                    │  ╲ lease ran out: claimed again ▶ dead
//	   └── retry, gate ─────┘
//	pending ──▶ cancelled                (by anyone, until the claim)
//
// # Outcomes
//
// A [Failure] carries a [Class]. The class that matters most is [Ambiguous]: nobody can know whether the provider
// acted. It is neither success nor failure. The intent itself says what follows, in its field on_ambiguous: repeat
// ([Retry]), ask the provider ([Reconcile]), or leave it to a person ([Park]).
//
// All rules of retry and dead letter are in [Next] and [Decide], nowhere else.
package outbox
