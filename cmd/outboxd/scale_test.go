//go:build scale

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/integration/mongodb"
	"github.com/outboxd/outboxd/migrations"
)

// scale is an outbox with many intents, and the processes around it.
type scale struct {
	*world
	t       *testing.T
	admin   *adminProcess
	worker  *process
	metrics string // the worker's
	client  *http.Client
	made    atomic.Int64 // intents beside those that were there from the start
}

// setting reads a number from the environment.
func setting(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s is %q, must be a number above 0", name, text)
	}
	return n
}

// TestAdminAtScale measures what operators look at, on a large outbox and beside a worker. docs/performance.md says how
// to read it.
func TestAdminAtScale(t *testing.T) {
	intents := scaleIntents{n: setting(t, "BENCH_ADMIN_INTENTS", 10_000_000), now: time.Now().UTC().Truncate(time.Millisecond), groups: scaleGroups()}
	backlog := setting(t, "BENCH_ADMIN_ROUND", 30_000)
	s := newScale(t)
	intents.fill(t, s.db)
	intents.fillRates(t, s.db)
	intents.fillAudit(t, s.db)
	s.index()
	s.checkpoint()
	s.describe()

	s.begin()
	views := scaleViews(intents, planJob(t, s.admin))
	stop := s.load()
	s.latencies(views, setting(t, "BENCH_ADMIN_REQUESTS", 60))
	inserted, rate := stop()
	t.Logf("beside these: %d intents inserted, %.0f a second", inserted, rate)
	s.until("the end of the load", func() bool { return s.done() >= inserted })
	s.examined(views)
	s.throughput(backlog)
}

// newScale starts a server and migrates an outbox.
func newScale(t *testing.T) *scale {
	t.Helper()
	server, err := mongodb.Find(t.Context(), mongodb.Options{CacheSizeGB: 4, OplogSizeMB: 4096})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	client, err := mongo.Connect(options.Client().ApplyURI(server.URI))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Disconnect(context.WithoutCancel(t.Context())) }) // the server is about to end
	db := client.Database("scale")
	if _, err := migrations.New(db, "").Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("MongoDB %s, %s, %d processors", server.Version, server.How, runtime.NumCPU())
	return &scale{t: t, client: &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 2 * scaleWatchers}}, world: &world{db: db, env: []string{
		"OUTBOXD_MONGODB_URI=" + server.URI, "OUTBOXD_DATABASE=" + db.Name(), "OUTBOXD_LISTEN=127.0.0.1:0",
		"STRIPE_API_KEY=sk_test_secret4711", "SENDGRID_API_KEY=SG.secret4711",
		"TWILIO_ACCOUNT_SID=AC00000000000000000000000000000000", "TWILIO_AUTH_TOKEN=secret4711",
	}}}
}

// index makes the indexes of a deployment whose people search by metadata and by the provider's ids.
func (s *scale) index() {
	s.t.Helper()
	began := time.Now()
	if _, err := s.outbox().Indexes().CreateMany(s.t.Context(), []mongo.IndexModel{indexOn("metadata.order"), indexOn("result.id")}); err != nil {
		s.t.Fatal(err)
	}
	s.t.Logf("metadata and provider's ids indexed in %v", time.Since(began).Round(time.Second))
}

// checkpoint has the server write what it still has to write, so that no round pays for another one.
func (s *scale) checkpoint() {
	s.t.Helper()
	if err := s.db.Client().Database("admin").RunCommand(s.t.Context(), bson.D{{Key: "fsync", Value: 1}}).Err(); err != nil {
		s.t.Fatal(err)
	}
}

// describe prints how large the outbox is.
func (s *scale) describe() {
	s.t.Helper()
	var stats struct {
		Count, Size, StorageSize, AvgObjSize, TotalIndexSize float64
	}
	raw, err := s.db.RunCommand(s.t.Context(), bson.D{{Key: "collStats", Value: migrations.DefaultCollection}}).Raw()
	if err != nil {
		s.t.Fatal(err)
	}
	for name, to := range map[string]*float64{"count": &stats.Count, "size": &stats.Size, "storageSize": &stats.StorageSize, "avgObjSize": &stats.AvgObjSize, "totalIndexSize": &stats.TotalIndexSize} {
		n, _ := raw.Lookup(name).AsFloat64OK() // 0 says as much
		*to = n
	}
	const mb = 1 << 20
	s.t.Logf("%.0f intents of %.0f bytes: %.0f MB, %.0f MB of them stored, %.0f MB of indexes", stats.Count, stats.AvgObjSize, stats.Size/mb, stats.StorageSize/mb, stats.TotalIndexSize/mb)
}

// begin starts the providers, a worker and the operators' page, each in a process of its own.
func (s *scale) begin() {
	t := s.t
	t.Helper()
	sim := launch(t, nil, "sim", "--json", "--stripe-port", "0", "--sendgrid-port", "0", "--twilio-port", "0")
	var urls struct{ Stripe, Sendgrid, Twilio string }
	if err := json.Unmarshal([]byte(sim.out.awaitText(t, "\n")), &urls); err != nil {
		t.Fatal(err)
	}
	s.env = append(s.env, "STRIPE_API_URL="+urls.Stripe, "SENDGRID_API_URL="+urls.Sendgrid, "TWILIO_API_URL="+urls.Twilio)
	path := filepath.Join(t.TempDir(), "outboxd.yaml")
	config := fmt.Sprintf("retention: {done: %v, cancelled: %v}\nlogs: {successes: 1}\n", scaleKept, scaleKept)
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	s.worker = launch(t, slices.Clone(s.env), "worker", "--config", path, "--log-format", "json")
	s.metrics = fmt.Sprintf("http://%s/metrics", s.worker.log.await(t, "serving", 1)["listen"])
	s.admin = s.world.admin(t, "")
	t.Cleanup(s.client.CloseIdleConnections)
}
