// Package api is the HTTP API of the admin process: operations on [admin.Service], and their description in OpenAPI.
//
// A success is 2xx. A request that was understood and is refused for a reason of the business is 422, with a code of
// package admin. Everything else is transport, a problem of RFC 9457. Who calls is decided outside, see [Config.Actor].
package api
