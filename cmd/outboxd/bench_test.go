package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/cmd/internal/bench"
	"github.com/outboxd/outboxd/integration/mongodb/mongotest"
)

// A small run of the parts that take no minute; credentials that look real must not reach its workers.
func TestBench(t *testing.T) {
	t.Parallel()
	env := []string{"OUTBOXD_MONGODB_URI=" + mongotest.URI(t), "SENDGRID_API_KEY=SG.real", "SENDGRID_API_URL=http://127.0.0.1:1", "OUTBOXD_DATABASE=mine"}
	p := launch(t, env, "bench", "--quick", "--intents", "300", "--slots", "32", "--only", "ceiling,worker,email", "--json")
	if code := p.end(t); code != exitDone {
		t.Fatalf("exit code %d\n%s%s", code, p.out, p.log)
	}
	var r bench.Report
	if err := json.Unmarshal([]byte(p.out.String()), &r); err != nil {
		t.Fatal(err)
	}
	if r.Ceiling == nil || r.Ceiling.Rate <= 0 || r.Worker == nil || len(r.Worker.Crews) != 3 || r.Email == nil || r.Email.Worker.Median <= 0 {
		t.Fatalf("parts are missing or empty: %s", p.out)
	}
	if r.Latency != nil || r.Flatness != nil || r.Cost != nil {
		t.Errorf("there are parts that nobody asked for: %s", p.out)
	}
	for _, c := range r.Worker.Crews {
		if c.Rate.Median <= 0 || c.OfCeiling.Median <= 0 || (c.OfOne == nil) != (c.Processes == 1) {
			t.Errorf("%d process(es): %+v", c.Processes, c)
		}
	}
	if r.Versions.Driver == "" || r.Server.Version == "" || r.Server.WriteConcern != "majority, journal" || r.Machine.Cores < 1 || r.Parameters.Slots != 32 || r.Parameters.Intents != 300 {
		t.Errorf("it does not say what was measured: %s", p.out)
	}
	if len(r.Bars) != 3 {
		t.Errorf("bars: %+v", r.Bars)
	}
	names, err := mongotest.Client(t).ListDatabaseNames(t.Context(), bson.D{})
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "outboxd_bench_") }) {
		t.Errorf("the run's database is still there: %v", names)
	}
}

func TestBenchWrongUse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--only", "worker,speed"}, `"speed" is no part`},
		{[]string{"--slots", "0"}, "--slots"},
		{[]string{"--quick", "--deep"}, "exclude each other"},
		{[]string{"--mongodb-uri", "nonsense"}, "connection string"},
	} {
		if r := must(t, exitWrongUse, nil, append([]string{"bench"}, c.args...)...); !strings.Contains(r.err, c.want) {
			t.Errorf("%v: %s", c.args, r.err)
		}
	}
}
