// Package sendgrid sends e-mail through SendGrid's Web API v3: kind "email".
//
// One intent is one request with one personalization, so that it is accepted or refused as a whole. SendGrid accepts
// with 202 and has no idempotency keys: a request whose answer is lost may have been accepted, and repeating it may
// send the e-mail twice. What tells afterwards is the Email Logs API (SendGrid documentation, "Email Logs"): every
// e-mail carries the intent's labels in custom_args (outbox_id, outbox_ns, outbox_key), and [Provider.LookUp]
// compares all three. The log lags behind by a time that SendGrid does not publish, so an absence counts only after a
// while; [outbox.ReconcilePolicy] has that time. If entries of the Event Webhook are stored ([Config.Events]), they
// are asked first. If one is there, SendGrid accepted the e-mail. If it is missing, that proves nothing.
//
// Every error is an *outbox.Failure, made in classify.go. SendGrid's errors have no codes. Decisions rest on the HTTP
// status and, in one place, on the name of the field that an error is about. They never rest on its text.
package sendgrid
