// Package stripe charges customers through Stripe: kind "charge".
//
// # Money is never moved twice
//
// A charge is two calls. The first creates a PaymentIntent and moves nothing; its id is stored in the intent's
// progress. The second confirms that PaymentIntent. Stripe charges one PaymentIntent at most once (Stripe API
// reference, "PaymentIntents"), so whatever happens to a confirmation, the stored PaymentIntent tells the truth:
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
// # Nothing stored is believed
//
// A PaymentIntent carries the intent's labels in its metadata (contract, "Identity"). Before one is confirmed or
// believed, its labels, amount, currency, customer and account are compared with the intent. As long as it was never
// tried, so is its payment method (compare.go). A difference is the code mismatch, and nothing is confirmed. One that
// is ours and differs is cancelled, so that a confirmation which is still under way cannot charge it; one of another
// intent is never touched.
//
// # Nothing is said to have had no effect too early
//
// A confirmation can be held up for long. Before a charge ends as expired or exhausted, [Provider.LookUp] cancels its
// unconfirmed PaymentIntent. Before a new generation makes its own, [Provider.Deliver] cancels that of the one
// before. Only a cancellation that Stripe has confirmed makes the absence certain; until then the outcome stays
// ambiguous.
//
// # A document that knows less than Stripe
//
// A document that was restored from a backup does not know what was begun. Within Stripe's memory its keys are
// replayed. Beyond that (search.go), the customer's PaymentIntents since the intent's first due_at are listed and
// compared by their labels before one is created. The list is exact, unlike Stripe's search. Where it is too long,
// nothing is created.
//
// # Idempotency keys
//
// Requests carry the intent's key for their step: create, confirm, cancel, or retire for the cancellation of an
// earlier generation's PaymentIntent. A key is the same on every attempt and every worker. Stripe replays the stored
// answer under a key, a server error included (Stripe API reference, "Idempotent requests"). In three cases the next
// attempt takes a fresh step (create.2, confirm.2):
//
//   - Stripe replays a server error;
//   - Stripe knows the creation's key with other parameters;
//   - the confirmation's key is older than 23 hours, so that Stripe may soon forget it.
//
// That is safe for a creation, which moves nothing. It is safe for a confirmation, because the PaymentIntent was just
// seen unconfirmed, and is charged at most once.
//
// # Progress
//
// The stored fields are:
//
//   - key: the intent's key without a step, which tells the generation;
//   - payment_intent and account;
//   - create and confirm: how many keys of the step were used, up to the one in use;
//   - confirm_at: the claim, by the database's clock, since which the confirmation's key is in use. Progress that
//     older code stored has its key in another form (<id> or <id>:g<generation>) and goes on under the keys of that
//     form.
//
// # Failure handling
//
// Every error is an *outbox.Failure, made in classify.go. None holds a text of Stripe's, whose errors carry the
// PaymentIntent with its client_secret.
package stripe
