package main

import (
	"cmp"
	"log/slog"
	"time"

	"github.com/outboxd/outboxd/cmd/internal/config"
	"github.com/outboxd/outboxd/cmd/internal/term"
)

// logger returns the logger for standard error: text for a person, else JSON.
func (p *program) logger(l config.Logging) *slog.Logger {
	byDefault := config.LogJSON
	if term.IsTerminal(p.err) {
		byDefault = config.LogText
	}
	o := &slog.HandlerOptions{Level: l.Level, ReplaceAttr: readable}
	if cmp.Or(l.Format, byDefault) == config.LogText {
		return slog.New(slog.NewTextHandler(p.err, o))
	}
	return slog.New(slog.NewJSONHandler(p.err, o))
}

// readable writes durations as numbers of milliseconds, whose keys say so: text cannot be averaged, and nanoseconds
// cannot be read.
func readable(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		return slog.Float64(a.Key+"_ms", float64(a.Value.Duration().Round(time.Microsecond))/float64(time.Millisecond))
	}
	return a
}
