// Package auth says who calls the admin process, and what they may do.
//
// A [Guard] stands in front of every handler. It knows three ways in: tokens of a file, OpenID Connect, and the header
// of a trusted proxy. It is closed by default: [Config.Check] refuses an address off loopback without one of them. The
// package knows nothing of intents; handlers ask [From] for the [Person], and the person for a [Right].
package auth
