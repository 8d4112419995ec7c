// Package producer writes intents for outboxd from Go. It is a module of its own: an application that uses it gets
// MongoDB's driver and nothing else.
//
// Nothing here is needed. An intent is a plain document, and the contract (docs/contract.md) is public. This package
// adds types for the payloads, an insert that writes an intent only once, and the reasons of a refusal in words.
//
//	session.WithTransaction(ctx, func(ctx context.Context) (any, error) {
//		// … the business data …
//		return producer.Insert(ctx, outbox, producer.SMS{To: "+4915112345678", From: "+15005550006", Body: "It is in."}.
//			Intent(producer.DedupKey("received:order-1")))
//	})
package producer
