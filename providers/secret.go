package providers

import "log/slog"

// Secret is a credential. It shows itself only through Reveal: fmt, slog and encoders see a placeholder.
type Secret string

const redacted = "[redacted]"

// Reveal returns the credential.
func (s Secret) Reveal() string { return string(s) }

// String returns a placeholder.
func (Secret) String() string { return redacted }

// GoString returns a placeholder, for %#v.
func (Secret) GoString() string { return redacted }

// LogValue returns a placeholder.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns a placeholder, for JSON, YAML and their like.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Usable reports whether the credential can stand in an HTTP header: not empty, printable ASCII, no space.
func (s Secret) Usable() bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != ""
}
