// Package webhook reads what Stripe, SendGrid and Twilio post about charges, e-mails and texts.
//
// For each provider there is a function that verifies the signature, and one that reads a verified body. Verify first:
// what is not signed is anybody's. Nothing here does I/O, and no error repeats a part of a body.
//
// None of the three signs against being played back for ever: SendGrid and Twilio sign no time that is checked, and
// Stripe's tolerance is minutes. So whoever stores what was read must store it once.
package webhook

import "errors"

// ErrSignature is returned for a signature that is missing, malformed, too old, or does not fit.
var ErrSignature = errors.New("the signature is missing, too old, or does not fit the request")
