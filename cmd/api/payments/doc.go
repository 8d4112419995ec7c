// Package payments is the reference producer: a payments API that writes its business data and the intent for its effect
// in one transaction.
//
// # Nouns
//
// A [Payment] is the business document, in the collection [Collection]. POST /payments inserts it in state pending,
// together with an intent of kind charge in the outbox; both are there, or neither. The worker charges the card and, in
// the transaction that settles the intent, writes the payment's state back (paid, or failed with the reason) and inserts
// the follow-ups that the intent carries: a receipt by e-mail and SMS, or an e-mail that says that it failed. So this
// package calls no provider and has no background work.
//
// # The API
//
//	POST /payments        202, Location and the payment; the card is charged soon after
//	GET  /payments/{id}   200 and the payment with its state
//	POST /webhooks/sendgrid  204 once a batch of events is stored; see below
//	GET  /healthz         200 while the process lives
//	GET  /readyz          200 while payments can be accepted, else 503 with the reasons
//
// The body of POST /payments is a JSON object of at most 64 KiB: amount (minor units), currency, customer,
// payment_method, email, phone, and optionally description. A header Idempotency-Key makes a repetition harmless: it
// answers with the payment of the first request, marked by the header Idempotent-Replayed, and nothing is charged twice.
//
// # Two kinds of refusal
//
// A request that was understood and is refused for what it says is a business error: 422 with
// {"error": {"code", "msg"}}, its code one of [Codes]. Everything else is a transport error: {"status", "detail"} with
// 400 (no JSON object), 404, 405, 413, 415, 500, or 503 with Retry-After when MongoDB cannot be reached. After a 503
// nobody knows whether the payment was written: repeat the request under the same Idempotency-Key.
//
// # What became of e-mails
//
// Where a [Config.WebhookKey] is set, POST /webhooks/sendgrid takes the batches of SendGrid's Event Webhook, of at most
// 2 MiB, and keeps what tells which intent's e-mail SendGrid has accepted in the collection [Events], where a worker can
// look (OUTBOXD_EMAIL_EVENTS). A batch whose signature does not fit gets 403. What cannot be stored gets 503, and SendGrid
// posts it again; what is stored already is stored once. Without the key the path does not exist.
//
// # What it leaves out
//
// It authenticates nobody: put it behind something that does, and keep it on loopback otherwise. Ids of payments cannot
// be guessed. It never logs a customer's data, nor an error's text that could hold some.
package payments
