package schedules

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/outboxd/outboxd/outbox"
)

// mostLines is how much of a story is told.
const mostLines = 500

// story is what happened in a schedule, kept cheaply and told only if the schedule fails.
type story struct {
	began time.Time

	mu    sync.Mutex
	lines []line
}

type line struct {
	at   time.Duration
	who  string
	what string
	more []any // told by their String, where they have one
	err  error
}

func (s *story) add(who, what string, err error, more ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, line{time.Since(s.began), who, what, more, err})
}

func (s *story) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for n, l := range s.lines {
		if n == mostLines {
			fmt.Fprintf(&b, "  and %d lines more\n", len(s.lines)-n)
			break
		}
		fmt.Fprintf(&b, "  %12v %-3s %s", l.at.Round(time.Microsecond), l.who, l.what)
		for _, more := range l.more {
			fmt.Fprintf(&b, " %v", more)
		}
		if l.err != nil {
			fmt.Fprintf(&b, " -> %v", l.err)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// String tells the plan.
func (p plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "latency %v, logs after %v, providers' clocks ahead by %v\n", p.latency, p.logsDelay, p.skew)
	for _, l := range p.lanes {
		fmt.Fprintf(&b, "lane %s: timeout %v lease %v slots %d rate %v %+v\n", l.Kind, l.Timeout, l.Lease, l.Concurrency, l.Rate, l.Policy)
	}
	for _, w := range p.all() {
		fmt.Fprintf(&b, "intent %s: %s, due %v, expires %v, on_ambiguous %s, attempts %d, refused %v, payload %v\n",
			w.id, w.kind, w.due, w.expires, w.policy, w.attempts, w.refused, w.doc["payload"])
	}
	for _, f := range p.faults {
		fmt.Fprintf(&b, "fault %s %s of %q: %s %s %d saved %v headers %v delay %v, from the %dth, %d times\n",
			f.Provider, f.Route, f.Match.OutboxID, f.When, f.Do, f.Status, f.Saved, f.Headers, f.Delay, max(1, f.Match.Nth), f.Match.Times)
	}
	for n, slot := range p.slots {
		for m, l := range slot {
			fmt.Fprintf(&b, "machine %s: after %v, refused dials %v, incidents %+v\n", machineName(n, m), l.pause, l.refused, l.incidents)
		}
	}
	return b.String()
}

// settlement tells itself without a payload.
type settlement outbox.Settlement

func (s settlement) String() string {
	d := s.Decision
	words := []string{s.Intent.ID.String(), string(d.Status), string(d.Reason), string(d.Outcome)}
	if d.Failure != nil {
		words = append(words, d.Failure.Code)
	}
	words = slices.DeleteFunc(words, func(w string) bool { return w == "" })
	return strings.Join(words, "/") + fmt.Sprintf(", attempts %d, due in %v", d.Attempts, d.Delay)
}

// claim tells the intents of a claim.
type claim []*outbox.Intent

func (c claim) String() string {
	var words []string
	for _, in := range c {
		id := in.ID.String()
		if in.Lease.Reclaimed {
			id += "(reclaimed)"
		}
		words = append(words, id)
	}
	return strings.Join(words, " ")
}
