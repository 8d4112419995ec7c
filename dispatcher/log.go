package dispatcher

import (
	"context"
	"log/slog"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/outboxd/outboxd/outbox"
)

// Logs says what the line of an outcome holds, and how many of them there are. The zero value logs each outcome, and
// nothing of an intent's metadata.
type Logs struct {
	// Metadata names the keys of an intent's metadata that stand in the lines about it.
	Metadata []string
	// Successes bounds the lines about what ended done, for each lane in a second; 0: no bound. Everything else always
	// has its line.
	Successes int
}

// maxLogged bounds a value of metadata in a line, in bytes.
const maxLogged = 200

// attrs are the keys of an outcome's line, the same everywhere. Nothing of a payload is among them, and no key without
// a value.
func (s *settler) attrs(o outcome) []any {
	d := o.Decision
	list := append([]any{"intent", o.Intent.ID.String(), "kind", o.kind, "attempt", o.Intent.Attempts},
		filled("outcome", string(d.Outcome), "status", string(d.Status), "reason", string(d.Reason))...)
	if f := d.Failure; f != nil {
		list = append(list, filled("code", f.Code, "provider", f.Provider, "provider_code", f.ProviderCode)...)
		if f.HTTPStatus != 0 {
			list = append(list, "http_status", f.HTTPStatus)
		}
		list = append(list, filled("request_id", f.RequestID)...)
	} else if d.Receipt != nil {
		list = append(list, filled("provider", d.Receipt.Provider, "result", d.Receipt.ID)...)
	}
	if d.Status == outbox.StatusPending {
		list = append(list, "delay_ms", milliseconds(d.Delay))
	}
	list = append(list, "took_ms", milliseconds(o.Took))
	trace := d.Trace // of the span, which carries the producer's trace on; without spans that one
	if trace.Parent == "" {
		trace = o.Intent.Trace
	}
	list = append(list, filled("worker", o.Intent.Lease.Owner, "trace_id", trace.ID(), "span_id", d.Trace.SpanID())...)
	if chosen := chosen(o.Intent.Metadata, s.logs.Metadata); len(chosen) > 0 {
		list = append(list, slog.Group("metadata", chosen...))
	}
	return list
}

// filled returns those of the keys and texts whose text is not empty.
func filled(pairs ...string) []any {
	var list []any
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			list = append(list, pairs[i], pairs[i+1])
		}
	}
	return list
}

// chosen returns the values of the wanted keys, each cut to a bounded length.
func chosen(metadata map[string]string, wanted []string) []any {
	var list []any
	for _, key := range wanted {
		value := metadata[key]
		if len(value) > maxLogged {
			value = strings.ToValidUTF8(value[:maxLogged], "")
		}
		list = append(list, filled(key, value)...)
	}
	return list
}

// milliseconds returns a duration as a number that a log system can average, to the microsecond.
func milliseconds(d time.Duration) float64 {
	return math.Round(float64(d)/float64(time.Microsecond)) / 1000
}

// levelOf returns the level of an outcome's line. What the provider answers to the business, such as a declined card,
// is no trouble of whoever runs the worker.
func levelOf(d outbox.Decision) slog.Level {
	switch {
	case d.Outcome == "": // given back, or a look-up without a result: nothing that anybody waits for
		return slog.LevelDebug
	case d.Status == outbox.StatusDone, d.Outcome == outbox.Permanent:
		return slog.LevelInfo
	default:
		return slog.LevelWarn
	}
}

// sampler lets a number of lines pass in each second, and counts the others. It is safe for concurrent use.
type sampler struct {
	most int // 0: all

	mu      sync.Mutex
	since   time.Time // the second that is counted
	passed  int
	skipped int
}

// pass reports whether a line may be written, and how many were not in the seconds before.
func (s *sampler) pass() (ok bool, before int) {
	if s.most <= 0 {
		return true, 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); s.since.IsZero() || now.Sub(s.since) >= time.Second {
		before, s.since, s.passed, s.skipped = s.skipped, now, 0, 0
	}
	if s.passed >= s.most {
		s.skipped++
		return false, before
	}
	s.passed++
	return true, before
}

// rest returns how many lines were not written since pass last told.
func (s *sampler) rest() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.skipped
	s.skipped = 0
	return n
}

// settled writes the line of an outcome, unless it is one success of too many.
func (s *settler) settled(o outcome) {
	d := o.Decision
	if d.Status == outbox.StatusDone {
		ok, before := s.sample.pass()
		s.skipped(before)
		if !ok {
			return
		}
	}
	s.log.Log(context.Background(), levelOf(d), "settled", s.attrs(o)...)
}

// skipped tells of successes that have no line.
func (s *settler) skipped(n int) {
	if n > 0 {
		s.log.Info("settled more, without a line for each", "outcomes", n, "status", string(outbox.StatusDone))
	}
}
