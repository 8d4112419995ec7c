// Package contractcheck holds the providers and their simulator against what the vendors publish about their APIs.
//
// # What is checked
//
// Stripe: every request goes to Stripe's own stand-in, stripe-mock, and to the simulator. Both must accept what the
// provider and the SDK send, and both must refuse bad requests with the same status. Every answer of the simulator
// must fit the schema of Stripe's OpenAPI description, which comes with stripe-mock, and hold no field that it does
// not know.
//
// SendGrid and Twilio: every request of the providers, with every field that a payload can have, must fit the vendors'
// OpenAPI descriptions, of which testdata holds the parts needed. That the simulator's answers fit them is checked by
// the simulator's own tests.
//
// # What is not
//
// The descriptions know shapes, not behaviour: idempotency keys, declines, rate limits and states are the simulator's
// tests' business. stripe-mock describes Stripe's newest API, while the SDK asks for the version that it was made for.
// SendGrid's scopes, which the provider's check asks for, are in no description here.
//
// # Why it is a module of its own
//
// stripe-mock needs libraries that nothing else here does. The module is never published; its tests run by
// `make contract`. After a dependency of the main module was raised, run `go mod tidy` in this folder.
package contractcheck
