package schedules

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"testing/synctest"
)

// TestSchedules runs random schedules; the package comment says what of.
func TestSchedules(t *testing.T) {
	count, first := uint64(10_000), uint64(1)
	if testing.Short() {
		count = 500
	}
	for name, into := range map[string]*uint64{"OUTBOXD_SCHEDULES": &count, "OUTBOXD_SCHEDULES_SEED": &first} {
		if text := os.Getenv(name); text != "" {
			n, err := strconv.ParseUint(text, 10, 64)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			*into = n
		}
	}
	shards := min(count, 50)
	for shard := range shards {
		t.Run(fmt.Sprintf("from seed %d", first+shard), func(t *testing.T) {
			t.Parallel()
			for n := shard; n < count && !t.Failed(); n += shards {
				synctest.Test(t, func(t *testing.T) { play(t, draw(first+n)) })
			}
		})
	}
}
