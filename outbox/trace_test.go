package outbox_test

import (
	"testing"

	"github.com/outboxd/outboxd/outbox"
)

func TestTraceID(t *testing.T) {
	const id = "4bf92f3577b34da6a3ce929d0e0e4736"
	for parent, want := range map[string]string{
		"00-" + id + "-00f067aa0ba902b7-01":          id,
		"00-" + id + "-00f067aa0ba902b7-01-of-later": id,
		"":                                       "",
		id:                                       "",
		"00-" + id + "-00f067aa0ba902b7":         "",
		"00-" + id[:31] + "-00f067aa0ba902b7-01": "",
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01":  "",
		"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01":  "",
		"00-4bf92f3577b34da6a3ce929d0e0e473\"-00f067aa0ba902b7-01": "",
	} {
		if got := (outbox.Trace{Parent: parent}).ID(); got != want {
			t.Errorf("%q: %q, want %q", parent, got, want)
		}
	}
}
