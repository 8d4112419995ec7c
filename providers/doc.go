// Package providers holds what all providers of effects share: the HTTP transport, what is known of one call, and the
// rules that follow from the transport alone.
//
// # Nouns
//
// A [Transport] carries the requests of all providers. A [Call] is what became of one request: whether any of it was
// written to a connection, and which answer came. A [Secret] is a credential that no log, error or document can show.
//
// # Guarantees
//
// One call is at most one request on the wire: net/http's own repetitions, redirects and the SDKs' retries are
// switched off. An answer takes a bounded amount of memory, whatever the other side sends. No failure made here holds
// a URL, a recipient, a payload or a credential. Of texts from outside it holds only codes and ids of a narrow
// alphabet.
//
// # Failure handling
//
// One fact decides whether an effect can have happened; an error's text never does. As long as no byte of the request
// was written to a connection, it surely was not sent ([outbox.Transient]). From then on, without a readable answer,
// nobody can know ([outbox.Ambiguous]). A refusal counts as the provider's only with the provider's own error body;
// any other is that of something in between ([Call.NotTheProvider]). What an answer means is each provider's own file
// classify.go.
package providers
