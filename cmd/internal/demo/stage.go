package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"github.com/outboxd/outboxd/cmd/internal/config"
	"github.com/outboxd/outboxd/integration/mongodb"
	"github.com/outboxd/outboxd/migrations"
	"github.com/outboxd/outboxd/providers/simulator"
)

const (
	collection    = "outbox"
	endTimeout    = 15 * time.Second // of taking one thing off the stage
	clientTimeout = 15 * time.Second // of one operation on the database, and of one order
)

// policies are the worker's: as in production but for the waits, which are seconds, so that the story has an end today.
const policies = `lanes:
  charge:
    rate: 100/s
    timeout: 3s
    lease: 10s
    retry: {max_attempts: 8, base: 500ms, max: 2s}
    reconcile: {wait: 1s, interval: 1s, absent_after: 3s, give_up: 20s}
    breaker: {open_for: 1s}
  email:
    timeout: 3s
    lease: 10s
    retry: {max_attempts: 8, base: 500ms, max: 2s}
    reconcile: {wait: 1s, interval: 1s, absent_after: 3s, give_up: 20s}
    breaker: {open_for: 1s}
  sms:
    timeout: 3s
    lease: 10s
    retry: {max_attempts: 8, base: 500ms, max: 2s}
    reconcile: {wait: 1s, interval: 1s, absent_after: 3s, give_up: 20s}
    breaker: {open_for: 1s}
write_back:
  collections: [payments]
`

// stage is everything that runs. What is put on it is taken off in reverse order.
type stage struct {
	server *mongodb.Server
	db     *mongo.Database
	sims   *simulator.Servers
	apiURL string
	http   *http.Client // of those who order
	worker *child
	admin  *child
	folder string // of the worker's policies and log

	off []func() error
}

// set puts everything on the stage. After an error, what was put there is taken off.
func set(ctx context.Context, o Options) (_ *stage, err error) {
	s := &stage{http: &http.Client{Timeout: clientTimeout, Transport: &http.Transport{}}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.clear())
		}
	}()
	s.later(func() error { s.http.CloseIdleConnections(); return nil })
	if s.folder, err = os.MkdirTemp("", "outboxd-demo-"); err != nil {
		return nil, fmt.Errorf("make a folder for the demo: %w", err)
	}
	s.later(func() error { return os.RemoveAll(s.folder) })
	for _, put := range []func(context.Context, Options) error{s.setDatabase, s.setSimulators, s.setAPI, s.setWorker} {
		if err := put(ctx, o); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// setDatabase finds or starts a MongoDB and prepares a database of the demo's own in it.
func (s *stage) setDatabase(ctx context.Context, _ Options) error {
	return s.openDatabase(ctx, mongodb.Options{Variables: []string{config.VariableURI}}, "outboxd_demo_"+strings.ToLower(rand.Text()[:8]))
}

func (s *stage) later(off func() error) { s.off = append(s.off, off) }

// clear takes everything off the stage. It may be called more than once.
func (s *stage) clear() error {
	var errs []error
	for len(s.off) > 0 {
		last := len(s.off) - 1
		off := s.off[last]
		s.off = s.off[:last]
		errs = append(errs, off())
	}
	return errors.Join(errs...)
}

// openDatabase finds or starts a MongoDB and prepares a database in it, which is dropped at the end.
func (s *stage) openDatabase(ctx context.Context, find mongodb.Options, name string) (err error) {
	if s.server, err = mongodb.Find(ctx, find); err != nil {
		if errors.Is(err, mongodb.ErrNotFound) {
			return fmt.Errorf("this needs a MongoDB: %w", err)
		}
		return err
	}
	s.later(s.server.Close)
	client, err := s.connect(ctx, clientTimeout)
	if err != nil {
		return err
	}
	s.db = client.Database(name)
	s.later(func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
		defer cancel()
		return s.db.Drop(ctx)
	})
	if _, err := migrations.New(s.db, collection).Up(ctx); err != nil {
		return err
	}
	if err := s.db.CreateCollection(ctx, orders); err != nil { // a transaction should not have to
		return fmt.Errorf("create the collection %s: %w", orders, err)
	}
	return nil
}

// connect connects to the MongoDB, until the end. No operation takes longer than the timeout; 0: there is none.
func (s *stage) connect(ctx context.Context, timeout time.Duration) (*mongo.Client, error) {
	o := options.Client().ApplyURI(s.server.URI).SetAppName("outboxd-demo").SetReadConcern(readconcern.Majority()).
		SetWriteConcern(&writeconcern.WriteConcern{W: writeconcern.WCMajority, Journal: new(true)})
	if timeout > 0 {
		o.SetTimeout(timeout)
	}
	client, err := mongo.Connect(o)
	if err != nil {
		return nil, errors.New("the connection string of the demo's MongoDB is not valid") // the driver's error may show it
	}
	s.later(func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
		defer cancel()
		return client.Disconnect(ctx)
	})
	return client, nil
}

// setSimulators starts the three providers. SendGrid's log shows an e-mail a second late, so that a look-up has to
// wait.
func (s *stage) setSimulators(_ context.Context, _ Options) (err error) {
	s.sims, err = simulator.Start(simulator.Config{LogsDelay: time.Second, Latency: 20 * time.Millisecond}, simulator.Addrs{})
	if err == nil {
		s.later(func() error { s.sims.Close(); return nil })
	}
	return err
}

// setWorker starts the worker and waits until it serves.
func (s *stage) setWorker(ctx context.Context, o Options) error {
	return s.startWorker(ctx, o, policies)
}

func (s *stage) startWorker(ctx context.Context, o Options, policies string) (err error) {
	if err := os.WriteFile(s.policies(), []byte(policies), 0o600); err != nil {
		return fmt.Errorf("write the worker's policies: %w", err)
	}
	s.worker, err = s.startChild(ctx, o, "worker", "--config", s.policies())
	return err
}

func (s *stage) policies() string { return filepath.Join(s.folder, "outboxd.yaml") }

// startChild starts a command and waits until it serves.
func (s *stage) startChild(ctx context.Context, o Options, name string, args ...string) (*child, error) {
	c, err := startChild(o.Executable, filepath.Join(s.folder, name+".log"), s.environ(o.Environ), name, args...)
	if err != nil {
		return nil, err
	}
	s.later(c.stop)
	return c, c.awaitServing(ctx)
}

// environ is the worker's environment: the demo's own without anything that configures outboxd, so that neither a real
// credential nor another database can be meant.
func (s *stage) environ(own []string) []string {
	var list []string
	for _, entry := range own {
		name, _, _ := strings.Cut(entry, "=")
		if !configures(name) {
			list = append(list, entry)
		}
	}
	return append(list,
		config.VariableURI+"="+s.server.URI, "OUTBOXD_DATABASE="+s.db.Name(), "OUTBOXD_COLLECTION="+collection,
		"STRIPE_API_KEY=sk_test_demo", "STRIPE_API_URL="+s.sims.StripeURL,
		"SENDGRID_API_KEY=SG.demo", "SENDGRID_API_URL="+s.sims.SendGridURL,
		"TWILIO_ACCOUNT_SID=AC"+strings.Repeat("0", 32), "TWILIO_AUTH_TOKEN=demo", "TWILIO_API_URL="+s.sims.TwilioURL)
}

func configures(name string) bool {
	for _, prefix := range []string{"OUTBOXD_", "STRIPE_", "SENDGRID_", "TWILIO_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}
