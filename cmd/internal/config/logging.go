package config

import (
	"log/slog"
)

// DefaultLogLevel is the level without a flag. The format's default depends on where the logs go.
const DefaultLogLevel = "info"

// The formats of logs.
const (
	LogText = "text"
	LogJSON = "json"
)

// Logging says what is logged and how.
type Logging struct {
	Level  slog.Level
	Format string // LogText or LogJSON; empty: text on a terminal, else JSON
}

// LoadLogging reads what is logged and how.
func LoadLogging(src Source) (Logging, error) {
	r := &reader{Source: src}
	level := r.oneOf(setting{"log-level", "OUTBOXD_LOG_LEVEL", DefaultLogLevel}, "debug", "info", "warn", "error")
	l := Logging{Format: r.oneOf(setting{"log-format", "OUTBOXD_LOG_FORMAT", ""}, LogText, LogJSON)}
	if len(r.problems) == 0 {
		if err := l.Level.UnmarshalText([]byte(level)); err != nil {
			r.problems.add("log level", "%v", err)
		}
	}
	return l, r.problems.orNil()
}
