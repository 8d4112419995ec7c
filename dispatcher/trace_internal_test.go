package dispatcher

import (
	"context"
	"testing"
	"time"

	"github.com/outboxd/outboxd/outbox"
)

// clock is a store that knows the time.
type clock struct{ Store }

func (clock) Now() time.Time { return time.Time{} }

// BenchmarkUntraced shows what spans cost where nobody wants them.
func BenchmarkUntraced(b *testing.B) {
	l := &lane{store: clock{}, observer: nobody{}}
	ctx, c := context.Background(), &claimed{in: &outbox.Intent{}}
	untraced := func() {
		var d outbox.Decision
		ctx = l.called(ctx, c, outbox.Send)
		c.ended(&d)
	}
	if n := testing.AllocsPerRun(100, untraced); n != 0 {
		b.Fatalf("a call without spans allocates %v times", n)
	}
	b.ReportAllocs()
	for b.Loop() {
		untraced()
	}
}
