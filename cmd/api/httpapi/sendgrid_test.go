package httpapi_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/cmd/api/httpapi"
	"github.com/outboxd/outboxd/cmd/api/payments"
)

const sentAt = 1_800_000_000

// batch are two events of one intent, one of an e-mail that no intent stands for, and two that are none.
var batch = fmt.Sprintf(`[
 {"email":"ada@example.org","timestamp":%[1]d,"event":"processed","sg_event_id":"ev-1","sg_message_id":"abc.recvd-1","outbox_id":"mail-1","note":"x"},
 {"email":"ada@example.org","timestamp":%[1]d,"event":"delivered","sg_event_id":"ev 2 of ada@example.org","sg_message_id":"ada@example.org","outbox_id":"mail-1"},
 {"email":"bob@example.org","timestamp":%[1]d,"event":"delivered","sg_event_id":"ev-3","sg_message_id":"def.recvd-2"},
 {"email":"bob@example.org","event":"delivered","sg_event_id":"ev-4","outbox_id":"mail-2"},
 {"email":"bob@example.org","timestamp":%[1]d,"event":{},"sg_event_id":"ev-5","outbox_id":17}
]`, sentAt)

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// signed are the headers of a batch as SendGrid signs it: the timestamp and the body together.
func signed(t *testing.T, key *ecdsa.PrivateKey, body string) []string {
	t.Helper()
	sum := sha256.Sum256([]byte("1800000001" + body))
	sig, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return []string{"X-Twilio-Email-Event-Webhook-Timestamp", "1800000001", "X-Twilio-Email-Event-Webhook-Signature", base64.StdEncoding.EncodeToString(sig)}
}

// withWebhook serves the API with a key.
func withWebhook(a *api, key *ecdsa.PrivateKey) *api {
	a.t.Helper()
	return a.with(httpapi.Config{Webhooks: httpapi.Webhooks{SendGrid: &key.PublicKey}})
}

// postEvents returns the status; a stored batch is answered without a body.
func (a *api) postEvents(body string, headers ...string) int {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), http.MethodPost, a.url+"/webhooks/sendgrid", strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := a.http.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		a.t.Fatal(err)
	}
	return resp.StatusCode
}

func TestEventsAreStoredOnceAndWithoutAddresses(t *testing.T) {
	a := start(t)
	key := newKey(t)
	a = withWebhook(a, key)
	for range 2 {
		if status := a.postEvents(batch, signed(t, key, batch)...); status != http.StatusNoContent {
			t.Fatalf("status %d", status)
		}
	}
	var stored []bson.M
	a.read(payments.Events, &stored)
	if len(stored) != 2 {
		t.Fatalf("%d documents: %v", len(stored), stored)
	}
	for _, doc := range stored {
		want := map[any]bson.M{
			"processed": {"_id": "ev-1", "sg_message_id": "abc.recvd-1"},
			"delivered": {"_id": doc["_id"], "sg_message_id": ""},
		}[doc["event"]]
		if len(doc) != 5 || doc["outbox_id"] != "mail-1" || doc["_id"] != want["_id"] || doc["sg_message_id"] != want["sg_message_id"] ||
			doc["at"] != bson.NewDateTimeFromTime(time.Unix(sentAt, 0)) || strings.Contains(fmt.Sprint(doc), "@") {
			t.Errorf("stored %v", doc)
		}
	}
}

func TestEventsExpireAndAreFoundByAnIndex(t *testing.T) {
	a := start(t)
	a = withWebhook(a, newKey(t))
	specs, err := a.db.Collection(payments.Events).Indexes().ListSpecifications(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	expires := slices.ContainsFunc(specs, func(s mongo.IndexSpecification) bool {
		return s.ExpireAfterSeconds != nil && *s.ExpireAfterSeconds == 30*24*60*60
	})
	found := slices.ContainsFunc(specs, func(s mongo.IndexSpecification) bool { return s.Name == "outbox_id" })
	if !expires || !found {
		t.Errorf("the indexes are %+v", specs)
	}
}

func TestOnlySignedBatchesAreStored(t *testing.T) {
	a := start(t)
	key := newKey(t)
	a = withWebhook(a, key)
	object, large := `{"event":"processed"}`, strings.Repeat(" ", 2<<20)+batch
	good := signed(t, key, batch)
	for _, c := range []struct {
		name    string
		body    string
		headers []string
		want    int
	}{
		{"no signature", batch, nil, http.StatusForbidden},
		{"no timestamp", batch, good[2:], http.StatusForbidden},
		{"another timestamp", batch, append([]string{good[0], "1800000002"}, good[2:]...), http.StatusForbidden},
		{"another body", strings.Replace(batch, "mail-1", "mail-9", 1), good, http.StatusForbidden},
		{"another key", batch, signed(t, newKey(t), batch), http.StatusForbidden},
		{"nonsense", batch, append(slices.Clone(good[:3]), "%%%"), http.StatusForbidden},
		{"no ASN.1", batch, append(slices.Clone(good[:3]), "AAAA"), http.StatusForbidden},
		{"no array", object, signed(t, key, object), http.StatusBadRequest},
		{"too large", large, signed(t, key, large), http.StatusRequestEntityTooLarge},
	} {
		if got := a.postEvents(c.body, c.headers...); got != c.want {
			t.Errorf("%s: status %d, want %d", c.name, got, c.want)
		}
	}
	if ans := a.do(http.MethodGet, "/webhooks/sendgrid", ""); ans.status != http.StatusMethodNotAllowed {
		t.Errorf("GET: status %d", ans.status)
	}
	var stored []bson.M
	if a.read(payments.Events, &stored); len(stored) != 0 {
		t.Errorf("stored %v", stored)
	}
}

func TestWithoutAKeyThereIsNoWebhook(t *testing.T) {
	a := start(t)
	if got := a.postEvents(batch, signed(t, newKey(t), batch)...); got != http.StatusNotFound {
		t.Errorf("status %d", got)
	}
}

func TestEventsThatCannotBeStoredAreNotAccepted(t *testing.T) {
	a := start(t)
	client, err := mongo.Connect(options.Client().ApplyURI("mongodb://127.0.0.1:1/?replicaSet=rs0").SetTimeout(200 * time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Disconnect(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	key := newKey(t)
	service, err := payments.New(payments.Config{Database: client.Database("x"), Senders: senders, Timeout: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	away := serveService(t, service, nil, httpapi.Config{Webhooks: httpapi.Webhooks{SendGrid: &key.PublicKey}})
	if got := away.postEvents(batch, signed(t, key, batch)...); got != http.StatusServiceUnavailable {
		t.Errorf("MongoDB is away: status %d", got)
	}
	// And where the server refuses the write, which is no failure of the network.
	a = withWebhook(a, key)
	refuse := bson.D{{Key: "collMod", Value: payments.Events}, {Key: "validator", Value: bson.D{{Key: "x", Value: 1}}}}
	if err := a.db.RunCommand(t.Context(), refuse).Err(); err != nil {
		t.Fatal(err)
	}
	if got := a.postEvents(batch, signed(t, key, batch)...); got != http.StatusServiceUnavailable {
		t.Errorf("the write is refused: status %d", got)
	}
}
