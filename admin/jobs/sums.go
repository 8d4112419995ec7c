package jobs

import (
	"strconv"
	"time"

	"github.com/outboxd/outboxd/outbox"
)

func after(op outbox.JobOp) string {
	if op == outbox.JobDiscard {
		return string(outbox.StatusCancelled)
	}
	return string(outbox.StatusPending)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func rampSum(ramp []int) int {
	sum := 0
	for _, n := range ramp {
		sum += n
	}
	return sum
}

// plus adds the counts of a batch.
func plus(a, b outbox.JobCounts) outbox.JobCounts {
	refused := make(map[string]int64, len(a.Refused)+len(b.Refused))
	for _, counts := range []map[string]int64{a.Refused, b.Refused} {
		for why, n := range counts {
			refused[why] += n
		}
	}
	a.Seen += b.Seen
	a.Went += b.Went
	a.Changed += b.Changed
	a.Refused = refused
	return a
}

// position reads where a job of named letters is; place writes it.
func position(cursor string) int {
	n, _ := strconv.Atoi(cursor) // empty: at the beginning
	return max(0, n)
}

func place(n int) string { return strconv.Itoa(n) }
