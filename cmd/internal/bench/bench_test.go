package bench

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/outboxd/outboxd/cmd/internal/term"
)

func TestStatistics(t *testing.T) {
	if got, want := spread([]float64{3, 1, 2}), (Spread{2, 1, 3}); got != want {
		t.Errorf("three rounds: %v, want %v", got, want)
	}
	if got, want := spread([]float64{4, 2}), (Spread{3, 2, 4}); got != want {
		t.Errorf("two rounds: %v, want %v", got, want)
	}
	var list []time.Duration
	for i := range 100 {
		list = append(list, time.Duration(100-i)*time.Millisecond)
	}
	if got, want := percentiles(slices.Values(list)), (Percentiles{100, 50, 95, 99, 100}); got != want {
		t.Errorf("percentiles %v, want %v", got, want)
	}
	if got := percentiles(slices.Values[[]time.Duration](nil)); got != (Percentiles{}) {
		t.Errorf("percentiles of nothing: %v", got)
	}
}

func TestInParallelCoversAllAndStopsAtAnError(t *testing.T) {
	var sum atomic.Int64
	if err := inParallel(t.Context(), 3, 7, 100, func(_ context.Context, from, to int) error {
		for i := from; i < to; i++ {
			sum.Add(int64(i))
		}
		return nil
	}); err != nil || sum.Load() != 99*100/2 {
		t.Errorf("sum %d, %v", sum.Load(), err)
	}
	broken := errors.New("broken")
	if err := inParallel(t.Context(), 3, 1, 100, func(context.Context, int, int) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

// The instant that counts is when all processes together had written so many.
func TestReached(t *testing.T) {
	c := &crew{members: []*member{
		{settled: []progress{{At: 10, Settled: 5}, {At: 30, Settled: 20}}},
		{settled: []progress{{At: 20, Settled: 10}, {At: 40, Settled: 15}}},
	}}
	for n, want := range map[int]int64{1: 10, 15: 20, 16: 30, 30: 30, 31: 40, 36: 0} {
		if got := c.reached(n); got != want {
			t.Errorf("%d outcomes were written at %d, want %d", n, got, want)
		}
	}
}

func TestBars(t *testing.T) {
	good := &Report{
		Worker:   &Worker{Crews: []Crew{{OfCeiling: Spread{Median: .71}}, {OfOne: &Spread{Median: .96}}}},
		Flatness: &Flatness{Steps: []FlatStep{{Waiting: 1000, OfNone: Spread{Median: .91}}}},
		Latency:  &Latency{Idle: Percentiles{P50: 4, P99: 19}, HalfP99: Spread{Median: 99}},
		Curve:    &Curve{Points: []CurvePoint{{Rate: 500, Waits: Percentiles{P50: 6, P99: 25}}}},
		Cost:     &Cost{Load: Load{RoundTrips: .04, Resident: 99 << 20}, Idle: Idle{Queries: .9, Resident: 29 << 20}},
		Email:    &Email{OfAlone: Spread{Median: .61}},
	}
	bad := &Report{
		Worker:   &Worker{Crews: []Crew{{OfCeiling: Spread{Median: .69}}, {OfOne: &Spread{Median: .94}}}},
		Flatness: &Flatness{Steps: []FlatStep{{Waiting: 1000, OfNone: Spread{Median: .89}}}},
		Latency:  &Latency{Idle: Percentiles{P50: 6, P99: 21}, HalfP99: Spread{Median: 101}},
		Curve:    &Curve{Points: []CurvePoint{{Rate: 500, Waits: Percentiles{P50: 6.1, P99: 25.1}}}},
		Cost:     &Cost{Load: Load{RoundTrips: .06, Resident: 101 << 20}, Idle: Idle{Queries: 1.1, Resident: 31 << 20}},
		Email:    &Email{OfAlone: Spread{Median: .59}, Worker: Spread{Median: 1499}},
	}
	for want, r := range map[bool]*Report{true: good, false: bad} {
		if bars := r.bars(); len(bars) != 13 {
			t.Errorf("%d bars, want one for each promise", len(bars))
		} else {
			for _, b := range bars {
				if b.Met != want {
					t.Errorf("%+v, want met: %v", b, want)
				}
			}
		}
	}
}

func TestWriteFitsTheWidth(t *testing.T) {
	r := &Report{
		Machine: Machine{CPU: strings.Repeat("long name ", 20)}, Ceiling: &Ceiling{Batch: 1000, Parallel: 4, Rate: 12345},
		Worker:  &Worker{Crews: []Crew{{Processes: 1, Rate: Spread{9000, 8000, 10000}, OfCeiling: Spread{Median: .7}, ClaimP50: 12}, {Processes: 2, OfOne: new(Spread)}}},
		Latency: &Latency{Idle: Percentiles{N: 300, P50: 3.21, P99: 10.5, Max: 123}},
		Cost:    &Cost{Load: Load{RoundTrips: .0234}},
	}
	r.Bars = r.bars()
	var out bytes.Buffer
	if err := r.Write(&out, term.NewStyle(&out, func(string) string { return "" })); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > term.Width {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	for _, want := range []string{"12,345", "9,000 (8,000–10,000)", "0.0234 an intent", "missed", "3.21"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it lacks %q:\n%s", want, out.String())
		}
	}
}

// A picture is well-formed whatever was measured, and shows every figure.
func TestPicture(t *testing.T) {
	three := Spread{3000, 2000, 4000}
	full := &Report{
		Machine: Machine{CPU: "a <fast> & good one"}, Ceiling: &Ceiling{Rate: 5000},
		Worker:   &Worker{Crews: []Crew{{Processes: 1, Rate: three}, {Processes: 2, Rate: three, OfOne: &three}}},
		Flatness: &Flatness{Steps: []FlatStep{{Waiting: 10_000, Rate: three}}}, Retention: &Retention{Rate: three},
		Latency: &Latency{HalfRate: 2000, Idle: Percentiles{P50: 4}},
		Curve:   &Curve{Points: []CurvePoint{{Rate: 200, Share: .02, Waits: Percentiles{P50: 3, P99: 7}}}}, Email: &Email{Alone: three, Worker: three},
	}
	full.Bars = full.bars()
	for _, r := range []*Report{{}, full} {
		var out bytes.Buffer
		if err := r.Picture(&out); err != nil {
			t.Fatal(err)
		}
		words := 0
		for d := xml.NewDecoder(&out); ; {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if start, ok := token.(xml.StartElement); ok && start.Name.Local == "text" {
				words++
			}
		}
		if want := 2 + 2*len(r.rates()) + 3*len(r.Bars); words < want {
			t.Errorf("%d texts for %d lines and %d bars", words, len(r.rates()), len(r.Bars))
		}
	}
}
