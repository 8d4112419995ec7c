package outbox

import "strings"

// ID returns the trace's id, 32 hexadecimal digits. It is empty without a valid traceparent (W3C Trace Context, "2.
// version 00").
func (t Trace) ID() string {
	parts := strings.Split(t.Parent, "-")
	if len(parts) < 4 || len(parts[0]) != 2 || len(parts[1]) != 32 || len(parts[2]) != 16 || strings.Trim(parts[1], "0") == "" {
		return ""
	}
	for _, c := range parts[1] {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return ""
		}
	}
	return parts[1]
}
