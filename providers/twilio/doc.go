// Package twilio sends text messages through Twilio's Messages resource: kind "sms".
//
// Twilio has no idempotency keys for messages. A request whose answer is lost may have created one, and repeating it
// may send a second ("sending an SMS … not idempotent", twilio.com/docs, "Error 20500"). What tells afterwards is the
// list of messages to the number: [Provider.LookUp] compares the sender, the time and the exact text. A message
// carries no reference of ours that the list would show, so two like texts to one number cannot be told apart; then
// it says so. Where a callback base is configured, Twilio's status callbacks bring back outbox_id, which does tell.
//
// Every error is an *outbox.Failure, made in classify.go. Decisions rest on the HTTP status and on a short list of
// error codes. Twilio asks not to build on its codes in general (twilio.com changelog, July 2024).
package twilio
