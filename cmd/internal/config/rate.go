package config

import (
	"errors"
	"strconv"
	"strings"
)

// LoadRate reads a flag that holds a rate, as a number a second; 0 if it is not given.
func LoadRate(src Source, flag string) (float64, error) {
	text, given := src.Flags[flag]
	if !given {
		return 0, nil
	}
	n, err := parseRate(text)
	if err != nil {
		return 0, Problems{{Where: "flag --" + flag, Text: strconv.Quote(text) + " " + err.Error()}}
	}
	return n, nil
}

// parseRate reads "N/s", "N/m" or "N/h" as a number a second.
func parseRate(text string) (float64, error) {
	number, unit, _ := strings.Cut(text, "/")
	n, err := strconv.ParseUint(number, 10, 32)
	seconds := map[string]float64{"s": 1, "m": 60, "h": 3600}[unit]
	if err != nil || n == 0 || seconds == 0 {
		return 0, errors.New("is no rate; write one like 25/s, 100/m or 5000/h")
	}
	return float64(n) / seconds, nil
}
