package outbox

import (
	"errors"
	"strconv"
	"strings"
)

// LeastRate is the lowest rate that a person may set: one call an hour, in calls a second. Whoever wants none pauses
// the lane.
const LeastRate = 1.0 / 3600

// ParseRate reads "N/s", "N/m" or "N/h" as a number a second. The error does not repeat the text.
func ParseRate(text string) (perSecond float64, err error) {
	number, unit, _ := strings.Cut(text, "/")
	n, err := strconv.ParseUint(number, 10, 32)
	seconds := map[string]float64{"s": 1, "m": 60, "h": 3600}[unit]
	if err != nil || n == 0 || seconds == 0 {
		return 0, errors.New("is no rate; write one like 25/s, 100/m or 5000/h")
	}
	return float64(n) / seconds, nil
}

// RateText writes a number a second as [ParseRate] takes it where that is exact, else rounded; empty for 0.
func RateText(perSecond float64) string {
	if perSecond == 0 {
		return ""
	}
	for _, unit := range []struct {
		seconds float64
		name    string
	}{{1, "s"}, {60, "m"}, {3600, "h"}} {
		if n := perSecond * unit.seconds; n >= 1 && n == float64(int64(n)) {
			return strconv.FormatInt(int64(n), 10) + "/" + unit.name
		}
	}
	return strconv.FormatFloat(perSecond, 'g', 4, 64) + "/s"
}

// EffectiveRate returns the rate that a lane keeps to: the lower of the configured one and the one that a person set,
// in calls a second of the whole deployment. 0 stands for none, and so does the result. A person can only slow a lane
// down: the configured rate is what the provider allows.
func EffectiveRate(configured, set float64) float64 {
	if configured == 0 || set > 0 && set < configured {
		return set
	}
	return configured
}
