// Package stripe charges customers through Stripe: kind "charge".
//
// # Money is never moved twice
//
// A charge is two calls. The first creates a PaymentIntent and moves nothing; its id is stored in the intent's progress.
// The second confirms that PaymentIntent. Stripe charges one PaymentIntent at most once (Stripe API reference,
// "PaymentIntents"), so whatever happens to a confirmation, the stored PaymentIntent tells the truth:
//
//	            create                save                confirm
//	nothing ───────────▶ unconfirmed ──────▶ unconfirmed ─────────▶ succeeded, requires_capture, processing
//	                     (not stored)         (stored)  │
//	                                             ▲      └─────────▶ requires_payment_method (declined), canceled
//	              asked first, on every later attempt
//
// Every attempt that finds a stored PaymentIntent asks for it before anything else, and confirms only what is
// unconfirmed. Every confirmation comes right after progress was stored under the lease's fence: no stored progress, no
// confirmation. So a failure of the creation or of the question is never ambiguous; only that of a confirmation is.
//
// # Idempotency keys
//
// Requests carry <intent key>:create and <intent key>:confirm, the same on every attempt and every worker. Stripe replays
// the stored answer under a key, a server error included (Stripe API reference, "Idempotent requests"). Where it replays
// a server error, and where the confirmation's key is older than 23 hours, so that Stripe may soon forget it, the next
// attempt takes a fresh suffix (<intent key>:confirm:2). That is safe for a creation, which moves nothing, and for a
// confirmation, because the PaymentIntent was just seen unconfirmed and is charged at most once.
//
// # Progress
//
// The stored fields are key (the intent key they belong to; another generation starts anew), payment_intent, create and
// confirm (which suffix is in use, from 1), and confirm_at (the claim, by the database's clock, since which the
// confirmation's key is in use).
//
// # Failure handling
//
// Every error is an *outbox.Failure, made in classify.go. None holds a text of Stripe's, whose errors carry the
// PaymentIntent with its client_secret.
package stripe
