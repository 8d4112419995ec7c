// Package payments is the business of the reference API, and the reference producer: it writes its business data and
// the intent for its effect in one transaction. Package httpapi serves it.
//
// # Nouns
//
// A [Payment] is the business document, in the collection [Collection]. [Service.Create] takes an [Order]: it inserts
// the payment in state pending, together with an intent of kind charge in the outbox; both are there, or neither. The
// worker charges the card. In the transaction that settles the intent, it writes the outcome on the payment and inserts
// the follow-ups that the intent carries: receipts, or an e-mail that says that the payment failed, or that we are
// checking. Each follow-up writes on the payment, in turn, what became of it. So this package calls no provider.
//
// [Service.ReportCharge], [Service.ReportEmails] and [Service.ReportSMS] take what providers report later. They write
// to fields of their own, so that neither they nor the worker undo what the other one knows. [Payment.Status] and
// [Payment.View] put both together.
//
// # Guarantees
//
// An order under an idempotency key is taken once. A report that comes twice, late or out of order changes nothing.
// What an event of Stripe's says is believed only of the payment whose amount, currency and customer it names. Every
// call ends within 5 s, if the client has [ClientTimeout]. No error repeats anything of a customer, and [LogAttrs]
// takes nothing from one that could.
//
// # Failure handling
//
// After a [*Refused], an [Unreadable] or [ErrInFlight] nothing was written. After any other error of Create nobody
// knows: repeating the order under its key tells. [Unavailable] tells whether that may help soon. A transaction of
// which a server that does not answer knows nothing is ended as soon as it answers.
package payments
