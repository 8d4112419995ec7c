// Command provider is a worker with a provider of its own: it carries out intents of kind "webhook", which are events
// that another system is told by HTTP. docs/extending.md explains it.
//
//	OUTBOXD_MONGODB_URI=… OUTBOXD_DATABASE=shop WEBHOOK_URL=https://crm.example/events go run ./examples/provider
package main
