package providers

import (
	"net/http"
	"testing"
	"time"
)

// FuzzRetryAfter: whatever an answer asks for, what is heard is from no wait to a day; a plain number of seconds is
// heard as it stands.
func FuzzRetryAfter(f *testing.F) {
	for _, after := range []string{"", "3", "0", "-1", "1.5", "1e300", "NaN", "Inf", "-Inf", "0x10", "99999999999999999999", " 3 ", "3s", "Wed, 21 Oct 2026 07:28:00 GMT", "Wednesday, 21-Oct-26 07:28:00 GMT", "Thu, 01 Jan 9999 00:00:00 GMT"} {
		for _, reset := range []string{"", "1792567680", "-1", "9223372036854775807", "-9223372036854775808", "1e9", "+3"} {
			f.Add(429, after, reset, "Wed, 21 Oct 2026 07:27:00 GMT")
			f.Add(503, after, reset, "yesterday")
		}
	}
	f.Fuzz(func(t *testing.T, status int, after, reset, date string) {
		c := &Call{status: status, at: time.Now(), header: http.Header{}}
		for name, value := range map[string]string{"Retry-After": after, "X-Ratelimit-Reset": reset, "Date": date} {
			c.header.Set(name, value)
		}
		got := c.retryAfter()
		if got < 0 || got > 24*time.Hour {
			t.Errorf("heard %v", got)
		}
		if seconds, err := time.ParseDuration(after + "s"); err == nil && status != 0 && seconds > 0 && seconds < 24*time.Hour && onlyDigits(after) && got != seconds {
			t.Errorf("%q is heard as %v", after, got)
		}
		if status != http.StatusTooManyRequests && after == "" && got != 0 {
			t.Errorf("heard %v from an answer that does not ask to wait", got)
		}
	})
}

func onlyDigits(s string) bool {
	for _, c := range s {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}
