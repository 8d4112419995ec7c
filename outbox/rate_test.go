package outbox_test

import (
	"testing"

	"github.com/outboxd/outboxd/outbox"
)

func TestRateTexts(t *testing.T) {
	for text, want := range map[string]float64{"25/s": 25, "90/m": 1.5, "1/h": outbox.LeastRate, "7/m": 7.0 / 60} {
		got, err := outbox.ParseRate(text)
		if err != nil || got != want {
			t.Errorf("ParseRate(%q) = %v, %v, want %v", text, got, err, want)
		}
		if back := outbox.RateText(got); back != text {
			t.Errorf("%q is written as %q", text, back)
		}
	}
	for _, text := range []string{"", "5", "0/s", "-1/s", "1.5/s", "NaN/s", "5/d", "5/s/s"} {
		if got, err := outbox.ParseRate(text); err == nil {
			t.Errorf("ParseRate(%q) = %v, want an error", text, got)
		}
	}
	for rate, want := range map[float64]string{0: "", 0.123456: "0.1235/s", 1e-5: "1e-05/s", 2.5: "150/m"} {
		if got := outbox.RateText(rate); got != want {
			t.Errorf("RateText(%v) = %q, want %q", rate, got, want)
		}
	}
}

func TestEffectiveRate(t *testing.T) {
	for _, c := range []struct{ configured, set, want float64 }{
		{0, 0, 0}, {25, 0, 25}, {0, 5, 5}, {25, 5, 5}, {25, 100, 25}, {25, 25, 25},
	} {
		if got := outbox.EffectiveRate(c.configured, c.set); got != c.want {
			t.Errorf("EffectiveRate(%v, %v) = %v, want %v", c.configured, c.set, got, c.want)
		}
	}
}
