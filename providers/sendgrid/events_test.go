package sendgrid

import (
	"context"
	"testing"
	"time"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers/providertest"
)

// entries are stored events by outbox_id; they note the instant that was asked for.
type entries struct {
	messages map[string]string
	since    time.Time
}

func (e *entries) Accepted(_ context.Context, labels map[string]string, since time.Time) (string, bool) {
	e.since = since
	id, found := e.messages[labels["outbox_id"]]
	return id, found && labels["outbox_ns"] == "test" && labels["outbox_key"] == "s0"
}

func withEvents(t *testing.T, e *entries) (*providertest.Server, *Provider) {
	t.Helper()
	server := providertest.NewServer(t)
	p, err := New(Config{APIKey: testKey, URL: server.URL, Transport: providertest.NewTransport(t), Events: e})
	if err != nil {
		t.Fatal(err)
	}
	return server, p
}

// An event that is there settles it: the log, which may lag behind, is not asked.
func TestLookUpAsksTheEventsFirst(t *testing.T) {
	for id, want := range map[string]string{"abc-123.recvd-5f.1": "abc-123", "abc": "abc", "": "", "a@b.example": ""} {
		e := &entries{messages: map[string]string{"mail-17": id}}
		server, p := withEvents(t, e)
		in := newIntent()
		answer, err := p.LookUp(t.Context(), in)
		receipt, found := answer.Receipt, answer.Found
		if err != nil || !found || receipt != (outbox.Receipt{Provider: Name, ID: want, Status: "accepted"}) {
			t.Errorf("%q: %+v, %v, %v", id, receipt, found, err)
		}
		if n := len(server.Requests()); n != 0 {
			t.Errorf("%q: %d requests to the log", id, n)
		}
		if !e.since.Equal(in.FirstAttemptAt.Add(-clockSkew)) {
			t.Errorf("asked for events since %v, the first attempt was at %v", e.since, in.FirstAttemptAt)
		}
	}
}

// An event that is not there proves nothing: the log decides, both ways.
func TestLookUpWithoutAnEventAsksTheLog(t *testing.T) {
	for _, logged := range []bool{true, false} {
		server, p := withEvents(t, &entries{messages: map[string]string{"mail-18": "other"}})
		if logged {
			server.Script(providertest.JSON(200, listed(messageID)), providertest.JSON(200, shown(messageID, "mail-17")))
		} else {
			server.Script(providertest.JSON(200, listed()))
		}
		answer, err := p.LookUp(t.Context(), newIntent())
		receipt, found := answer.Receipt, answer.Found
		if err != nil || found != logged || logged && receipt.ID != messageID {
			t.Errorf("in the log %v: %+v, %v, %v", logged, receipt, found, err)
		}
	}
}
