// Package providertest is the suite that every provider passes. It has each answer that a server can give, each way
// in which a connection can break, and what the provider must make of it.
//
// # Nouns
//
// A [Suite] describes one provider by its [Step]s. A step is one request of the provider's API, with the good answers
// that lead up to it and a way to make the provider send it. A [Row] is one answer to that request and what is wanted
// of the provider then ([Want]). Rows are data: what they want is written down, not computed by the code under test.
//
// [Run] adds to a step's own rows what is the same for all:
//
//   - every HTTP status from 200 to 599, with the provider's own body, an empty one, one that is not JSON, one of the
//     wrong content type, and one that is cut off;
//   - a flood of a gigabyte, and a server that never answers;
//   - resets before and after reading the request, and cancellation;
//   - names that do not resolve, refused connections, and failed TLS handshakes.
//
// A [Simulation] describes the same provider before its simulated API. [Simulation.Run] and [Simulation.RunSends] count
// effects: what a fault does to a delivery, and whether the look-up finds out.
//
// # What is checked in every row
//
// The class and code, and that the two belong together by [outbox.Codes]. The number of requests: none is sent again.
// Nothing forbidden may appear: a secret, a number, an address, a payload's text. It must not be in the error, its
// fields and causes, the receipt, the standard streams or the standard loggers. The answers are full of it.
package providertest
