package worker

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/outboxd/outboxd/cmd/api/httpapi"
	"github.com/outboxd/outboxd/cmd/api/payments"
	"github.com/outboxd/outboxd/cmd/internal/config"
	"github.com/outboxd/outboxd/integration/mongodb/mongotest"
	"github.com/outboxd/outboxd/migrations"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers"
	"github.com/outboxd/outboxd/providers/sendgrid"
	"github.com/outboxd/outboxd/providers/simulator"
)

// signer signs batches as SendGrid does, which the simulator does not, hands them to the API, and tells its answers.
func signer(t *testing.T, db *mongo.Database) (url string, answers <-chan int) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	service, err := payments.New(payments.Config{Database: db, Senders: payments.Senders{Email: "shop@example.com", Phone: "+15005550006"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := service.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	app, err := httpapi.New(httpapi.Config{Payments: service, Webhooks: httpapi.Webhooks{SendGrid: &key.PublicKey}})
	if err != nil {
		t.Fatal(err)
	}
	api, told := app.Handler(), make(chan int, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		sum := sha256.Sum256(append([]byte("17"), body...))
		sig, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
		if err != nil {
			t.Error(err)
		}
		batch := httptest.NewRequestWithContext(r.Context(), http.MethodPost, "/webhooks/sendgrid", bytes.NewReader(body))
		batch.Header.Set("X-Twilio-Email-Event-Webhook-Timestamp", "17")
		batch.Header.Set("X-Twilio-Email-Event-Webhook-Signature", base64.StdEncoding.EncodeToString(sig))
		rec := httptest.NewRecorder()
		api.ServeHTTP(rec, batch)
		w.WriteHeader(rec.Code)
		told <- rec.Code
	}))
	t.Cleanup(server.Close)
	return server.URL, told
}

func email(id string) *outbox.Intent {
	now := time.Now()
	return &outbox.Intent{
		ID: outbox.NewStringID(id), Kind: outbox.KindEmail, Status: outbox.StatusLeased, Attempts: 1,
		FirstAttemptAt: now, AmbiguousAt: now, Lease: outbox.Lease{Token: "t", At: now},
		Payload: &outbox.Email{
			From: outbox.Address{Email: "shop@example.com"}, To: outbox.Address{Email: "ada@example.org"}, Subject: "s", Text: "t",
		},
	}
}

// SendGrid accepts, its answer is lost, its log lags behind; its event tells.
func TestEventsTellWhatTheLogDoesNotShowYet(t *testing.T) {
	db := mongotest.Database(t)
	if _, err := migrations.New(db, "").Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	url, answers := signer(t, db)
	sims, err := simulator.Start(simulator.Config{EventWebhook: url, LogsDelay: time.Hour}, simulator.Addrs{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sims.Close)
	if err := sims.Sim.AddFaults(simulator.Fault{Provider: simulator.ProviderSendGrid, Route: "send", When: simulator.After, Do: simulator.DoDrop, Match: simulator.Match{Times: 2}}); err != nil {
		t.Fatal(err)
	}
	transport := providers.NewTransport(providers.TransportConfig{})
	t.Cleanup(transport.CloseIdleConnections)
	keys := config.Providers{SendGrid: &config.SendGrid{Key: "SG.x", URL: sims.SendGridURL}}
	for name, c := range map[string]struct {
		collection string
		found      bool
	}{"without events": {"", false}, "with events": {payments.Events, true}} {
		provider, err := Provider(outbox.KindEmail, keys, Plain(transport), EmailEvents(db, c.collection, slog.New(slog.DiscardHandler)))
		if err != nil {
			t.Fatal(err)
		}
		p := provider.(*sendgrid.Provider)
		in := email("mail " + name)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if receipt, err := p.Deliver(ctx, in, nil); err == nil {
			t.Fatalf("%s: the answer was not lost: %+v", name, receipt)
		}
		if code := <-answers; code != http.StatusNoContent {
			t.Fatalf("%s: the API answered %d", name, code)
		}
		answer, err := p.LookUp(ctx, in)
		receipt, found := answer.Receipt, answer.Found
		if err != nil || found != c.found {
			t.Errorf("%s: %+v, %v, %v", name, receipt, found, err)
		}
		effects := sims.Sim.Effects()
		if id := effects[len(effects)-1].ID; found && !strings.HasPrefix(id, receipt.ID) || found && receipt.ID == "" {
			t.Errorf("%s: the receipt is %q of %q", name, receipt.ID, id)
		}
	}
}

func TestWhichEventsCount(t *testing.T) {
	labels := func(id string) map[string]string {
		return map[string]string{"outbox_id": id, "outbox_ns": "ns1", "outbox_key": "s0"}
	}
	db := mongotest.Database(t)
	var log bytes.Buffer
	e := EmailEvents(db, "seen", slog.New(slog.NewTextHandler(&log, nil)))
	now := time.Now()
	for id, entry := range map[string]struct {
		event   string
		at      time.Time
		ns, key any
		want    bool
	}{
		"accepted":              {"processed", now, "ns1", "s0", true},
		"bounced":               {"bounce", now, "ns1", "s0", true},
		"of earlier":            {"delivered", now.Add(-2 * time.Hour), "ns1", "s0", false},
		"opened":                {"open", now, "ns1", "s0", false},
		"of another outbox":     {"processed", now, "ns2", "s0", false},
		"of another type":       {"processed", now, "ns1", "o0", false},
		"of another generation": {"processed", now, "ns1", "s1", false},
		"of older code":         {"processed", now, nil, nil, false},
	} {
		if _, err := db.Collection("seen").InsertOne(t.Context(), bson.D{
			{Key: "outbox_id", Value: id}, {Key: "outbox_ns", Value: entry.ns}, {Key: "outbox_key", Value: entry.key},
			{Key: "event", Value: entry.event}, {Key: "sg_message_id", Value: "m." + id}, {Key: "at", Value: entry.at},
		}); err != nil {
			t.Fatal(err)
		}
		if message, found := e.Accepted(t.Context(), labels(id), now.Add(-time.Hour)); found != entry.want || found && message != "m."+id {
			t.Errorf("%s: %q, %v", id, message, found)
		}
	}
	if _, found := e.Accepted(t.Context(), labels("unheard of"), now.Add(-time.Hour)); found || log.Len() > 0 {
		t.Errorf("found %v, logged %s", found, log.String())
	}
}

// Entries that cannot be read are reported, and the log decides.
func TestEventsThatCannotBeReadLeaveItToTheLog(t *testing.T) {
	db := mongotest.Database(t)
	if _, err := db.Collection("broken").InsertOne(t.Context(), bson.D{
		{Key: "outbox_id", Value: "mail-1"}, {Key: "outbox_key", Value: "s0"}, {Key: "event", Value: "processed"}, {Key: "sg_message_id", Value: 17}, {Key: "at", Value: time.Now()},
	}); err != nil {
		t.Fatal(err)
	}
	sims, err := simulator.Start(simulator.Config{}, simulator.Addrs{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sims.Close)
	transport := providers.NewTransport(providers.TransportConfig{})
	t.Cleanup(transport.CloseIdleConnections)
	keys := config.Providers{SendGrid: &config.SendGrid{Key: "SG.x", URL: sims.SendGridURL}}
	var log bytes.Buffer
	provider, err := Provider(outbox.KindEmail, keys, Plain(transport), EmailEvents(db, "broken", slog.New(slog.NewTextHandler(&log, nil))))
	if err != nil {
		t.Fatal(err)
	}
	p := provider.(*sendgrid.Provider)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := p.Deliver(ctx, email("mail-1"), nil); err != nil {
		t.Fatal(err)
	}
	if answer, err := p.LookUp(ctx, email("mail-1")); err != nil || !answer.Found {
		t.Errorf("%v, %v", answer.Found, err)
	}
	if strings.Count(log.String(), "cannot be read") != 1 || strings.Contains(log.String(), "ada@") {
		t.Errorf("logged %q", log.String())
	}
}
