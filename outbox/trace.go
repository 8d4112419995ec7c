package outbox

import "strings"

// ID returns the trace's id, 32 hexadecimal digits. It is empty without a valid traceparent (W3C Trace Context, "2.
// version 00").
func (t Trace) ID() string {
	id, _ := t.ids()
	return id
}

// SpanID returns the id of the span that the context names, 16 hexadecimal digits. It is empty where ID is.
func (t Trace) SpanID() string {
	_, span := t.ids()
	return span
}

// ids returns both ids, or neither.
func (t Trace) ids() (trace, span string) {
	parts := strings.Split(t.Parent, "-")
	if len(parts) < 4 || len(parts[0]) != 2 || !isTraceID(parts[1], 32) || !isTraceID(parts[2], 16) {
		return "", ""
	}
	return parts[1], parts[2]
}

// isTraceID reports whether it is an id of the given length: lower-case digits, not all of them zero.
func isTraceID(s string, length int) bool {
	return len(s) == length && strings.Trim(s, "0") != "" && strings.Trim(s, "0123456789abcdef") == ""
}
