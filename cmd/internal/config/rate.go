package config

import (
	"strconv"

	"github.com/outboxd/outboxd/outbox"
)

// LoadRate reads a flag that holds a rate, as a number a second; 0 if it is not given.
func LoadRate(src Source, flag string) (float64, error) {
	text, given := src.Flags[flag]
	if !given {
		return 0, nil
	}
	n, err := outbox.ParseRate(text)
	if err != nil {
		return 0, Problems{{Where: "flag --" + flag, Text: strconv.Quote(text) + " " + err.Error()}}
	}
	return n, nil
}
