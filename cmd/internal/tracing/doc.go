// Package tracing makes the spans of a worker with OpenTelemetry, and exports them by OTLP. It builds nothing unless
// the environment names an endpoint.
package tracing
