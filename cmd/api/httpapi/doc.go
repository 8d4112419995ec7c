// Package httpapi serves package payments over HTTP.
//
// # The API
//
//	POST /payments                202 {id, state, msg}, Location, Retry-After; the card is charged soon after
//	GET  /payments/{id}           200 and the payment; ?wait=20s answers as soon as its state changes
//	GET  /payments/{id}/events    200 and a stream of server-sent events, one for each change
//	POST /webhooks/stripe         204 once the event is stored; so /webhooks/sendgrid and /webhooks/twilio
//	GET  /                        a small shop, for people
//	GET  /docs                    the API's description, for people; /openapi.yaml and /openapi.json for programs
//	GET  /healthz                 200 while the process lives
//	GET  /readyz                  200 while payments can be accepted, else 503 with the reasons
//	GET  /metrics                 Prometheus
//
// # Two kinds of error
//
// A request that was understood, and is refused for what it says, is a business error. It is always 422, with
// {"error": {"code", "msg"}}. If several things are wrong, it has all of them: {"errors": [{"code", "msg", "field"},
// …]}. So is the question for a payment that does not exist. [payments.Codes] lists the codes; they never change
// their meaning.
//
// Everything else is transport: the request could not be read, is not allowed, or cannot be served now. It is
// application/problem+json, with 400, 403, 404 (no such path), 405, 408, 409, 413, 414, 415, 429, 500 or 503, and says
// nothing about the business. After a 503 or a lost answer to POST /payments nobody knows whether the payment was
// written: repeat the request under the same Idempotency-Key.
//
// # Limits
//
// Each client has a token bucket and a number of requests that may wait. All clients together share a number of
// requests that may use the database; one more is refused at once, with 503. POST and GET answer within 5 s whatever
// MongoDB does.
//
// # Webhooks
//
// A route exists where its secret is configured. A request whose signature does not fit gets 403. What cannot be stored
// gets 503, and the provider posts it again; what is stored already is stored once.
//
// # What it leaves out
//
// It authenticates nobody: put it behind something that does, and keep it on loopback otherwise. It never logs a
// customer's data or address, nor an error's text that could hold some.
package httpapi
