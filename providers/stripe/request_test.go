package stripe

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/outboxd/outboxd/outbox"
)

func TestMetadataKeepsStripesLimits(t *testing.T) {
	c := &outbox.Charge{Metadata: map[string]string{"from": "payload"}}
	in := &outbox.Intent{ID: outbox.NewStringID(strings.Repeat("x", 200)), Payload: c, Metadata: map[string]string{
		"from": "intent", "long": strings.Repeat("ü", 600), "empty": "", "with[brackets]": "x", strings.Repeat("k", 41): "x", strings.Repeat("k", 40): "fits",
	}}
	for i := range 60 {
		c.Metadata[fmt.Sprintf("p%02d", i)] = "x"
	}
	m := metadata(in, c)
	if len(m) != maxMetadataKeys {
		t.Errorf("%d keys, want %d", len(m), maxMetadataKeys)
	}
	if m["outbox_id"] != in.ID.String() || m["from"] != "payload" {
		t.Errorf("outbox_id is %q, from is %q", m["outbox_id"], m["from"])
	}
	c.Metadata = map[string]string{"from": "payload"}
	m = metadata(in, c)
	if len(m) != 5 || m["from"] != "payload" || utf8.RuneCountInString(m["long"]) != maxMetadataValue || m[strings.Repeat("k", 40)] != "fits" {
		t.Errorf("%v", m)
	}
}
