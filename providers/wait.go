package providers

import (
	"net/http"
	"strconv"
	"time"
)

// retryAfter returns how long the answer asks to wait, 0 if it does not say or the instant has passed. It understands
// Retry-After in both of its forms (RFC 9110, "Retry-After") and X-RateLimit-Reset in epoch seconds (SendGrid, "Rate
// limits"). Instants are compared with the answer's own Date, so that a wrong clock on either side does not matter.
func (c *Call) retryAfter() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.status == 0 {
		return 0
	}
	now := c.at
	if date, err := http.ParseTime(c.header.Get("Date")); err == nil {
		now = date
	}
	if asked := c.header.Get("Retry-After"); asked != "" {
		if seconds, err := strconv.ParseFloat(asked, 64); err == nil {
			return atMost(seconds)
		}
		if at, err := http.ParseTime(asked); err == nil {
			return atMost(at.Sub(now).Seconds())
		}
	}
	if c.status != http.StatusTooManyRequests { // SendGrid sends its limits with every answer
		return 0
	}
	if reset, err := strconv.ParseInt(c.header.Get("X-RateLimit-Reset"), 10, 64); err == nil {
		return atMost(float64(reset - now.Unix()))
	}
	return 0
}

// atMost keeps a number from outside within what a Duration can hold; [outbox.Decide] has the real bounds.
func atMost(seconds float64) time.Duration {
	if !(seconds > 0) {
		return 0
	}
	return time.Duration(min(seconds, 24*60*60) * float64(time.Second))
}
