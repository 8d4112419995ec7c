package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"github.com/outboxd/outboxd/integration/chaos/check"
	"github.com/outboxd/outboxd/integration/mongodb"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers/simulator"
)

// Names in the database.
const (
	collection = "outbox"
	orders     = "orders"
	marks      = "marks"
)

// The numbers of a run. Everything is as short as the worker's own checks allow, so that minutes hold many events; the
// lease of charges is longer, so that a frozen worker meets leases that are over and others that are not.
const (
	members      = 3
	election     = 2 * time.Second
	callTimeout  = time.Second
	messageLease = 6 * time.Second
	chargeLease  = 12 * time.Second
	expiryLease  = 30 * time.Second // the dispatcher's own
	fenceMargin  = 2 * time.Second  // the dispatcher's own
	drain        = 10 * time.Second
	absentAfter  = 4 * time.Second
	providerLate = time.Second             // the longest on the network to a provider
	hangLate     = 1200 * time.Millisecond // the longest at a provider
	databaseLate = 3200 * time.Millisecond // a claim makes three trips or four
	recovery     = 4 * time.Second         // see check.Rules
	skew         = 500 * time.Millisecond
	maxAttempts  = 12
	stopTimeout  = 30 * time.Second
)

// policies are the workers'.
func policies() string {
	lane := func(kind string, lease time.Duration) string {
		return fmt.Sprintf("  %s: {concurrency: 16, rate: 100000/s, timeout: %v, lease: %v, retry: {max_attempts: %d, base: 100ms, max: 2s}, "+
			"reconcile: {wait: 500ms, interval: 1s, absent_after: %v, give_up: 40s}, breaker: {open_for: 1s}}\n", kind, callTimeout, lease, maxAttempts, absentAfter)
	}
	return "lanes:\n" + lane(outbox.KindCharge, chargeLease) + lane(outbox.KindEmail, messageLease) + lane(outbox.KindSMS, messageLease) +
		"write_back: {collections: [" + orders + "]}\n"
}

// rules are those numbers as the judge needs them.
func rules(clocksApart time.Duration) check.Rules {
	return check.Rules{
		Lease:  map[string]time.Duration{outbox.KindCharge: chargeLease, outbox.KindEmail: messageLease, outbox.KindSMS: messageLease},
		Expiry: expiryLease, Timeout: callTimeout, Fence: fenceMargin, Delay: providerLate*21/20 + hangLate, Recovery: recovery, Skew: skew + clocksApart,
	}
}

// stage is everything that runs but for the workers. What is put on it is taken off in reverse order.
type stage struct {
	dir     string // of programs, logs and evidence
	program string
	set     *mongodb.ReplicaSet // nil: a given cluster
	uri     string
	version string
	client  *mongo.Client
	db      *mongo.Database
	sims    *process
	urls    struct{ Stripe, SendGrid, Twilio string }
	net     *network
	http    *http.Client
	apart   time.Duration // the database's clock from ours

	namespace string // of the outbox, with which keys begin

	off []func() error
}

func (s *stage) later(off func() error) { s.off = append(s.off, off) }

// clear takes everything off the stage.
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

// setStage puts everything on the stage. uri names a given cluster; empty starts one. wrong makes clocks that can be
// wrong. After an error nothing is left.
func setStage(ctx context.Context, dir, uri string, wrong bool) (_ *stage, err error) {
	s := &stage{dir: dir, uri: uri, net: newNetwork(), http: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.clear())
		}
	}()
	s.later(func() error { s.net.close(); return nil })
	if s.program, err = build(ctx, dir, wrong); err != nil {
		return nil, err
	}
	if err := os.WriteFile(s.policies(), []byte(policies()), 0o600); err != nil {
		return nil, fmt.Errorf("write the workers' policies: %w", err)
	}
	if err := s.setDatabase(ctx); err != nil {
		return nil, err
	}
	return s, s.setProviders(ctx)
}

func (s *stage) policies() string { return filepath.Join(s.dir, "outboxd.yaml") }

// setDatabase starts or reaches the cluster, and makes a database of this run's own in it.
func (s *stage) setDatabase(ctx context.Context) (err error) {
	if s.uri == "" {
		s.set, err = mongodb.StartReplicaSet(ctx, members, mongodb.Options{ElectionTimeout: election, CacheSizeGB: 0.25, OplogSizeMB: 990})
		if err != nil {
			return err
		}
		s.later(s.set.Close)
		s.uri = s.set.URI()
	}
	if s.client, err = s.connect(); err != nil {
		return err
	}
	s.later(func() error { return s.disconnect(s.client) })
	return s.newDatabase(ctx)
}

// newDatabase makes a migrated database, which everything uses from now on.
func (s *stage) newDatabase(ctx context.Context) (err error) {
	s.db = s.client.Database("outboxd_chaos_" + strings.ToLower(bson.NewObjectID().Hex()))
	if s.set == nil {
		s.later(func() error {
			ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
			defer cancel()
			return s.db.Drop(ctx)
		})
	}
	var build struct{ Version string }
	if err := s.db.RunCommand(ctx, bson.D{{Key: "buildInfo", Value: 1}}).Decode(&build); err != nil {
		return fmt.Errorf("ask the database for its version: %w", err)
	}
	s.version = build.Version
	if s.apart, err = s.clocksApart(ctx); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, s.program, "migrate")
	cmd.Env = s.environment(s.uri)
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("migrate: %w\n%s", err, text)
	}
	for _, name := range []string{orders, marks} { // a transaction should not have to
		if err := s.db.CreateCollection(ctx, name); err != nil {
			return fmt.Errorf("create the collection %s: %w", name, err)
		}
	}
	for n := range sharedCount {
		if _, err := s.db.Collection(orders).InsertOne(ctx, bson.D{{Key: "_id", Value: shared(n)}}); err != nil {
			return fmt.Errorf("insert a shared document: %w", err)
		}
	}
	if s.namespace, err = s.readNamespace(ctx); err != nil {
		return err
	}
	// So that the observer sees each document before and after each change.
	images := bson.D{{Key: "collMod", Value: collection}, {Key: "changeStreamPreAndPostImages", Value: bson.D{{Key: "enabled", Value: true}}}}
	if err := s.db.RunCommand(ctx, images).Err(); err != nil {
		return fmt.Errorf("have the database record documents before and after each change: %w", err)
	}
	return nil
}

// readNamespace reads the outbox's namespace; it is empty where the schema has none.
func (s *stage) readNamespace(ctx context.Context) (string, error) {
	var doc bson.M
	err := s.db.Collection(collection+"_meta").FindOne(ctx, bson.D{{Key: "_id", Value: "namespace"}}).Decode(&doc)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the outbox's namespace: %w", err)
	}
	for _, value := range doc {
		if text, ok := value.(string); ok && namespaceForm.MatchString(text) {
			return text, nil
		}
	}
	return "", fmt.Errorf("the outbox's namespace is %v", doc)
}

// namespaceForm is what the contract says of a namespace.
var namespaceForm = regexp.MustCompile(`^[a-z0-9]{10}$`)

// connect makes a client that goes to the cluster directly, not through the network that is made to fail.
func (s *stage) connect() (*mongo.Client, error) {
	client, err := mongo.Connect(options.Client().ApplyURI(s.uri).SetAppName("outboxd-chaos").
		SetWriteConcern(&writeconcern.WriteConcern{W: writeconcern.WCMajority, Journal: new(true)}).SetReadConcern(readconcern.Majority()))
	if err != nil {
		return nil, errors.New("the connection string is not valid; see \"Connection Strings\" in the MongoDB manual") // the driver's error may show it
	}
	return client, nil
}

func (s *stage) disconnect(client *mongo.Client) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return client.Disconnect(ctx)
}

// clocksApart measures how far the database's clock is from ours.
func (s *stage) clocksApart(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	var hello struct {
		LocalTime time.Time `bson:"localTime"`
	}
	if err := s.db.RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}).Decode(&hello); err != nil {
		return 0, fmt.Errorf("ask the database for its time: %w", err)
	}
	took := time.Since(began)
	return (hello.LocalTime.Sub(began.Add(took / 2))).Abs() + took/2, nil
}

// setProviders starts the simulators. SendGrid's log shows an e-mail a second late.
func (s *stage) setProviders(ctx context.Context) (err error) {
	urls := make(chan string, 1)
	s.sims, err = startProcess(s.program, []string{"sim", "--stripe-port=0", "--sendgrid-port=0", "--twilio-port=0", "--json"}, environment(), filepath.Join(s.dir, "sim.log"), true, func(line string) {
		select {
		case urls <- line:
		default:
		}
	})
	if err != nil {
		return err
	}
	s.later(func() error { return s.sims.stop(stopTimeout) })
	select {
	case line := <-urls:
		if err := json.Unmarshal([]byte(line), &s.urls); err != nil {
			return fmt.Errorf("read the simulators' URLs: %w", err)
		}
	case <-s.sims.ended:
		return errors.New("the simulators ended before they served")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return s.control(ctx, http.MethodPost, "settings", map[string]string{"logs_delay": "1s", "latency": "5ms"}, nil)
}

// control asks the simulators' control endpoints.
func (s *stage) control(ctx context.Context, method, path string, body, answer any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("ask the simulators: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, method, s.urls.Stripe+"/_sim/"+path, bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("ask the simulators: %w", err)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return fmt.Errorf("ask the simulators: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		//nolint:errorlint // The error is nil where the status is what is wrong.
		return fmt.Errorf("ask the simulators for %s: %s %.200s (%v)", path, resp.Status, text, err)
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("read the simulators' answer: %w", err)
	}
	return nil
}

func (s *stage) effects(ctx context.Context) (list []simulator.Effect, err error) {
	err = s.control(ctx, http.MethodGet, "effects", nil, &list)
	return list, err
}

// environment is a program's, which reaches the database at uri.
func (s *stage) environment(uri string, more ...string) []string {
	return environment(append([]string{
		"OUTBOXD_MONGODB_URI=" + uri, "OUTBOXD_DATABASE=" + s.db.Name(), "OUTBOXD_COLLECTION=" + collection, "OUTBOXD_CONFIG=" + s.policies(),
		"OUTBOXD_LISTEN=127.0.0.1:0", "OUTBOXD_LOG_FORMAT=json", "OUTBOXD_DRAIN=" + drain.String(),
	}, more...)...)
}

// providers are the variables that point a worker at the providers.
func providers(stripe, sendgrid, twilio string) []string {
	return []string{
		"STRIPE_API_KEY=sk_test_chaos", "STRIPE_API_URL=" + stripe, "SENDGRID_API_KEY=SG.chaos", "SENDGRID_API_URL=" + sendgrid,
		"TWILIO_ACCOUNT_SID=AC" + strings.Repeat("0", 32), "TWILIO_AUTH_TOKEN=chaos", "TWILIO_API_URL=" + twilio,
	}
}

// read returns all documents of a collection, by their _id.
func read[T any](ctx context.Context, c *mongo.Collection, id func(T) string) (map[string]T, error) {
	cursor, err := c.Find(ctx, bson.D{})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", c.Name(), err)
	}
	var list []T
	if err := cursor.All(ctx, &list); err != nil {
		return nil, fmt.Errorf("read %s: %w", c.Name(), err)
	}
	all := make(map[string]T, len(list))
	for _, one := range list {
		all[id(one)] = one
	}
	return all, nil
}
