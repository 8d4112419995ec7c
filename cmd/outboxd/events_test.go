package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/outboxd/outboxd/providers/simulator"
)

// The answer is lost and SendGrid's log shows nothing: only the stored event tells that the e-mail was accepted.
func TestWorkerAsksTheStoredEvents(t *testing.T) {
	w := newWorld(t)
	w.fault(t, simulator.Fault{Provider: simulator.ProviderSendGrid, Route: "send", When: simulator.Before, Do: simulator.DoDrop})
	w.insert(t, intent("email", "mail-1"))
	var meta struct {
		Namespace *string `bson:"value"`
	}
	if err := w.db.Collection("outbox_meta").FindOne(t.Context(), bson.D{{Key: "_id", Value: "namespace"}}).Decode(&meta); err != nil && !errors.Is(err, mongo.ErrNoDocuments) {
		t.Fatal(err)
	}
	if _, err := w.db.Collection("seen").InsertOne(t.Context(), bson.D{
		{Key: "outbox_id", Value: "mail-1"}, {Key: "outbox_ns", Value: meta.Namespace}, {Key: "outbox_key", Value: "s0"}, {Key: "event", Value: "processed"}, {Key: "sg_message_id", Value: "told.recvd-1"}, {Key: "at", Value: time.Now()},
	}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "outboxd.yaml")
	if err := os.WriteFile(file, []byte("lanes: {email: {reconcile: {wait: 1s, interval: 1s}}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := append(w.env, "OUTBOXD_EMAIL_EVENTS=seen", "OUTBOXD_CONFIG="+file)
	must(t, exitDone, env, "worker", "--until-empty", "--within", "1m")
	doc := w.get(t, "mail-1")
	id, err := doc.LookupErr("result", "id")
	if err != nil || text(doc, "status") != "done" || id.StringValue() != "told" {
		t.Errorf("the intent is %s", doc)
	}
}
