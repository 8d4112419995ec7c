package twilio

import (
	"testing"

	"github.com/outboxd/outboxd/providers/providertest"
)

// FuzzAnswers: whatever stands where the provider's answer should be, it has a class and shows nothing.
func FuzzAnswers(f *testing.F) { providertest.Fuzz(f, suite()) }
