package outboxdtest_test

import (
	"fmt"
	"testing"

	"github.com/outboxd/outboxd/producer"
	"github.com/outboxd/outboxd/producer/outboxdtest"
)

// A unit test of a producer needs no database to see that its documents are valid.
func ExampleCheck() {
	text := producer.SMS{To: "0151 12345678", From: "+15005550006", Body: "It is in."}
	reasons, err := outboxdtest.Check(text.Intent())
	if err != nil {
		fmt.Println(err)
	}
	for _, r := range reasons {
		fmt.Println(r.Path, "breaks the rule:", r.Rule)
	}
	// Output:
	// payload.to breaks the rule: to
}

func TestValid(t *testing.T) {
	t.Parallel()
	outboxdtest.Valid(t, producer.SMS{To: "+4915112345678", From: "+15005550006", Body: "It is in."}.Intent())
	outboxdtest.Valid(t, producer.Of("fax", map[string]string{"to": "1"}), "fax")
}

// A mistyped kind would wait for ever, and is refused with the kinds that there are.
func TestMistypedKind(t *testing.T) {
	t.Parallel()
	reasons, err := outboxdtest.Check(producer.Of("smss", map[string]string{}))
	if err != nil || len(reasons) != 1 || reasons[0].Path != "kind" {
		t.Errorf("%v, %v", reasons, err)
	}
}
