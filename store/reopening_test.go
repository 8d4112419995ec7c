package store

import (
	"slices"
	"testing"
	"time"
)

// A change stream that breaks is opened again within seconds, one that is refused within minutes, and neither ever not.
func TestReopening(t *testing.T) {
	var r reopening
	var got []time.Duration
	for _, step := range []struct{ refused, held bool }{
		{}, {}, {}, {held: true}, {refused: true}, {refused: true}, {refused: true}, {refused: true}, {refused: true}, {refused: true}, {}, {refused: true},
	} {
		got = append(got, r.next(step.refused, step.held))
	}
	const ms, min = time.Millisecond, time.Minute
	want := []time.Duration{250 * ms, 500 * ms, 1000 * ms, 250 * ms, min, 2 * min, 4 * min, 8 * min, 10 * min, 10 * min, 250 * ms, min}
	if !slices.Equal(got, want) {
		t.Errorf("pauses %v, want %v", got, want)
	}
	for range 20 {
		if d := r.next(false, false); d > longestReopen {
			t.Errorf("a pause of %v", d)
		}
	}
}
