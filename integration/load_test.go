package integration

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/integration/mongodb/mongotest"
)

// loadVariable sets how many intents of each kind TestLoad and BenchmarkIntents use.
const loadVariable = "OUTBOXD_TEST_LOAD"

// swift is the configuration under load: the defaults, but for Stripe's limit of 25 charges a second.
const swift = "lanes: {charge: {rate: 100000/s}}\n"

// load is what a run of many intents came to.
type load struct {
	intents  int
	took     time.Duration // of the worker's process, from its start to its end
	commands map[string]int64
}

func (l load) perSecond() float64 { return float64(l.intents) / l.took.Seconds() }

func (l load) roundTrips() float64 {
	var all int64
	for _, n := range l.commands {
		all += n
	}
	return float64(all) / float64(l.intents)
}

func (l load) String() string {
	var parts []string
	for _, name := range slices.SortedFunc(maps.Keys(l.commands), func(a, b string) int { return cmp.Compare(l.commands[b], l.commands[a]) }) {
		parts = append(parts, fmt.Sprintf("%s %d", name, l.commands[name]))
	}
	return fmt.Sprintf("%d intents in %v, start and end of the process included: %.0f/s, %.2f round trips per intent (%s)",
		l.intents, l.took.Round(time.Millisecond), l.perSecond(), l.roundTrips(), strings.Join(parts, ", "))
}

// runLoad has a worker carry out n intents of each kind, and checks that each had one effect.
func runLoad(tb testing.TB, n int) load {
	tb.Helper()
	w := newWorld(tb, swift)
	docs := make([]any, 0, 3*n)
	for i := range n {
		id := strconv.Itoa(i)
		docs = append(docs, charge("charge-"+id), email("email-"+id), sms("sms-"+id))
	}
	if _, err := w.outbox.InsertMany(tb.Context(), docs); err != nil {
		tb.Fatal(err)
	}
	before, began := w.commands(), time.Now()
	w.worker("--until-empty", "--log-level=warn").succeed()
	l := load{intents: len(docs), took: time.Since(began), commands: w.commands()}
	for name, count := range l.commands {
		if l.commands[name] = count - before[name]; l.commands[name] == 0 {
			delete(l.commands, name)
		}
	}
	if done := w.count(bson.D{{Key: "status", Value: "done"}}); done != len(docs) {
		tb.Errorf("%d of %d intents are done", done, len(docs))
	}
	twice, effects := 0, w.sim.tally()
	for _, count := range effects {
		if count != 1 {
			twice++
		}
	}
	if len(effects) != len(docs) || twice > 0 {
		tb.Errorf("%d intents had effects, %d of them not exactly one; want %d with one each", len(effects), twice, len(docs))
	}
	return l
}

// commands are the server's counts of commands, by name. The driver's own, which cost an intent nothing, are left out.
func (w *world) commands() map[string]int64 {
	w.Helper()
	var status struct {
		Metrics struct {
			Commands map[string]bson.RawValue
		}
	}
	if err := w.db.RunCommand(context.Background(), bson.D{{Key: "serverStatus", Value: 1}}).Decode(&status); err != nil {
		w.Fatal(err)
	}
	counts := make(map[string]int64)
	for name, v := range status.Metrics.Commands {
		if doc, ok := v.DocumentOK(); ok && !slices.Contains([]string{"hello", "isMaster", "ismaster", "serverStatus", "endSessions", "ping", "buildInfo"}, name) {
			counts[name] = doc.Lookup("total").AsInt64()
		}
	}
	return counts
}

func loadSize(tb testing.TB, fallback int) int {
	tb.Helper()
	text := os.Getenv(loadVariable)
	if text == "" {
		return fallback
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		tb.Fatalf("%s is %q, must be a number from 1 on", loadVariable, text)
	}
	return n
}

// maxRoundTrips is more than what a batch costs each of its intents: a charge stores its progress twice by itself. One
// round trip for each step of each intent would be far above it.
const maxRoundTrips = 2

// Many intents of each kind go through one worker, each with one effect, at few round trips each. It does not run
// beside other tests, whose commands the server would count as well.
func TestLoad(t *testing.T) {
	l := runLoad(t, loadSize(t, 200))
	t.Log(l)
	// A server that is not this test process's own may have other clients.
	if trips := l.roundTrips(); trips > maxRoundTrips && os.Getenv(mongotest.Variable) == "" {
		t.Errorf("%.2f round trips per intent, want at most %d", trips, maxRoundTrips)
	}
}

// BenchmarkIntents measures a worker's process from its start to its end with a thousand intents of each kind:
//
//	go test -run '^$' -bench Intents -benchtime 1x ./integration
func BenchmarkIntents(b *testing.B) {
	for b.Loop() {
		l := runLoad(b, loadSize(b, 1000))
		b.ReportMetric(l.perSecond(), "intents/s")
		b.ReportMetric(l.roundTrips(), "roundtrips/intent")
		b.Log(l)
	}
}
