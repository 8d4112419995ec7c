package admin_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/admin"
	"github.com/outboxd/outboxd/integration/mongodb/mongotest"
	"github.com/outboxd/outboxd/migrations"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store"
)

func policy(string) outbox.Policy {
	return outbox.Policy{Retry: outbox.RetryPolicy{MaxAttempts: 12, Base: time.Second, Max: time.Minute}, OnAmbiguous: outbox.Park}
}

func newService(t *testing.T) (*admin.Service, *mongo.Database) {
	db := mongotest.Database(t)
	if _, err := migrations.New(db, "").Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	desk := store.New(db, "", store.Options{}).Desk()
	if err := desk.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return admin.New(admin.Config{Reader: desk, State: desk, Operator: desk, Controls: desk, Jobs: desk, Audit: desk, Kinds: []string{"sms"}, Policy: policy}), db
}

func insert(t *testing.T, db *mongo.Database, id string, fields bson.M) {
	t.Helper()
	doc := bson.M{"_id": id, "kind": "sms", "status": "pending", "due_at": time.Now(),
		"payload": bson.M{"to": "+4915112345678", "from": "+15550001111", "body": "code 4711"}}
	for name, value := range fields {
		if doc[name] = value; value == nil {
			delete(doc, name)
		}
	}
	if _, err := db.Collection("outbox").InsertOne(t.Context(), doc, options.InsertOne().SetBypassDocumentValidation(true)); err != nil {
		t.Fatal(err)
	}
}

func deadLetter(reason, class, code string) bson.M {
	doc := bson.M{"status": "dead", "due_at": nil, "dead_at": time.Now(), "dead_reason": reason, "attempts": 1, "first_attempt_at": time.Now(),
		"last_error": bson.M{"class": class, "code": code, "at": time.Now()},
		"history":    bson.A{bson.M{"what": "attempt", "attempt": 1, "at": time.Now(), "outcome": class, "code": code, "worker": "w"}}}
	if reason == "ambiguous" {
		doc["ambiguous_at"] = time.Now()
	}
	return doc
}

func actor(roles ...admin.Role) admin.Actor {
	return admin.Actor{Who: "ann", Via: "test", Roles: roles}
}

func TestChanges(t *testing.T) {
	t.Parallel()
	s, db := newService(t)
	ctx := t.Context()
	insert(t, db, "waits", nil)
	insert(t, db, "parked", deadLetter("ambiguous", "ambiguous", "no_answer"))
	insert(t, db, "opted-out", deadLetter("permanent", "permanent", "opted_out"))
	insert(t, db, "exhausted", deadLetter("exhausted", "transient", "unavailable"))
	insert(t, db, "old", deadLetter("exhausted", "transient", "unavailable"))
	operator := actor(admin.RoleRead, admin.RoleOperate)
	retry := func(name, why string) error {
		_, err := s.Retry(ctx, operator, name, why, false)
		return err
	}
	last := func() outbox.Act {
		acts, err := s.Acts(ctx, operator, outbox.ActFilter{})
		if err != nil || len(acts) == 0 {
			t.Fatalf("Acts: %v, %v", acts, err)
		}
		return acts[0]
	}
	for name, c := range map[string]struct {
		err  error
		want admin.Code
	}{
		"no such":   {retry("nobody", "x"), admin.IntentNotFound},
		"no reason": {retry("exhausted", "  "), admin.ReasonMissing},
		"parked":    {retry("parked", "x"), admin.AmbiguousVerdict},
		"opted out": {retry("opted-out", "x"), admin.FinalForRecipient},
		"no lane":   {s.PauseLane(ctx, operator, "emial", "x"), admin.LaneUnknown},
	} {
		if e, ok := errors.AsType[*admin.Error](c.err); !ok || e.Code != c.want {
			t.Errorf("%s: %v, want %s", name, c.err, c.want)
		}
	}
	if err := retry("parked", "again"); err == nil || last().Outcome != outbox.ActRefused || last().Code != "ambiguous_needs_verdict" || last().Why != "again" {
		t.Errorf("a refusal is recorded as %+v", last())
	}
	if err := retry("exhausted", "it works again"); err != nil || last().Outcome != outbox.ActDone || last().On != "exhausted" || last().After != "pending" {
		t.Errorf("a retry is recorded as %+v, %v", last(), err)
	}
	if c, err := s.Discard(ctx, operator, "old", "nobody wants it"); err != nil || c.Status != outbox.StatusCancelled {
		t.Errorf("Discard: %+v, %v", c, err)
	}
	if c, err := s.Cancel(ctx, operator, "waits", "the order was cancelled"); err != nil || c.Status != outbox.StatusCancelled {
		t.Errorf("Cancel: %+v, %v", c, err)
	}
	if c, err := s.Resolve(ctx, operator, "parked", "it is in the log", true, "SM1"); err != nil || c.Status != outbox.StatusDone {
		t.Errorf("Resolve: %+v, %v", c, err)
	}
	if err := s.PauseLane(ctx, operator, "sms", "trouble"); err != nil {
		t.Error(err)
	}
	if view, err := s.Overview(ctx, operator); err != nil || len(view.Cards) != 1 || view.Cards[0].State != admin.LanePaused || len(view.Needs) != 1 {
		t.Errorf("Overview: %+v, %v", view, err)
	}
	if stood, err := s.ResumeLane(ctx, operator, "sms", "over"); err != nil || !stood {
		t.Errorf("ResumeLane: %t, %v", stood, err)
	}
	if stood, err := s.ResumeLane(ctx, operator, "sms", "over"); err != nil || stood {
		t.Errorf("ResumeLane of what is open: %t, %v", stood, err)
	}
}

func TestSetRate(t *testing.T) {
	t.Parallel()
	s, db := newService(t)
	ctx := t.Context()
	operator := actor(admin.RoleRead, admin.RoleOperate)
	set := func(a admin.Actor, kind string, rate float64, why string) error {
		_, err := s.SetRate(ctx, a, kind, rate, why)
		return err
	}
	lane := func() admin.Lane {
		lanes, err := s.Lanes(ctx, operator)
		if err != nil || len(lanes) != 1 {
			t.Fatalf("Lanes: %+v, %v", lanes, err)
		}
		return lanes[0]
	}
	last := func() outbox.Act {
		acts, err := s.Acts(ctx, operator, outbox.ActFilter{Op: "rate"})
		if err != nil || len(acts) == 0 {
			t.Fatalf("Acts: %+v, %v", acts, err)
		}
		return acts[0]
	}
	if err := store.New(db, "", store.Options{}).ShowRate(ctx, "sms", "10/s"); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		err  error
		want admin.Code
	}{
		"no lane":                   {set(operator, "emial", 1, "x"), admin.LaneUnknown},
		"no reason":                 {set(operator, "sms", 1, " "), admin.ReasonMissing},
		"negative":                  {set(operator, "sms", -1, "x"), admin.NotAllowed},
		"too low":                   {set(operator, "sms", 1e-9, "x"), admin.NotAllowed},
		"no number":                 {set(operator, "sms", math.NaN(), "x"), admin.NotAllowed},
		"without end":               {set(operator, "sms", math.Inf(1), "x"), admin.NotAllowed},
		"above the configured rate": {set(operator, "sms", 10.5, "x"), admin.NotAllowed},
	} {
		if e, ok := errors.AsType[*admin.Error](c.err); !ok || e.Code != c.want {
			t.Errorf("%s: %v, want %s", name, c.err, c.want)
		}
	}
	if _, ok := errors.AsType[*admin.Forbidden](set(actor(admin.RoleRead, admin.RoleApprove), "sms", 1, "x")); !ok {
		t.Error("somebody without the role operate set a rate")
	}
	if l := lane(); l.Limit != "" || l.EffectiveRate() != "10/s" || l.Slowed() {
		t.Errorf("refused, and yet the lane is %+v", l)
	}

	if changed, err := s.SetRate(ctx, operator, "sms", 0, "x"); err != nil || changed {
		t.Errorf("SetRate of 0 where none was set: %t, %v", changed, err)
	}
	if changed, err := s.SetRate(ctx, operator, "sms", 0.5, "the provider asked"); err != nil || !changed {
		t.Errorf("SetRate: %t, %v", changed, err)
	}
	if a := last(); a.Outcome != outbox.ActDone || a.Who != "ann" || a.On != "sms" || a.Why != "the provider asked" || a.Before != "none" || a.After != "30/m" {
		t.Errorf("a rate is recorded as %+v", a)
	}
	if l := lane(); l.State != admin.LaneOpen || l.Limit != "30/m" || l.Rate != "10/s" || l.EffectiveRate() != "30/m" || !l.Slowed() || l.LimitWhy != "the provider asked (ann)" {
		t.Errorf("the lane is %+v", l)
	}
	if view, err := s.Overview(ctx, operator); err != nil || len(view.Needs) != 1 || view.Needs[0].Urgent ||
		view.Needs[0].Text != "sms is slowed down to 30/m: the provider asked (ann). 0 wait" {
		t.Errorf("Overview: %+v, %v", view.Needs, err)
	}
	if changed, err := s.SetRate(ctx, operator, "sms", 0, "over"); err != nil || !changed {
		t.Errorf("SetRate of 0: %t, %v", changed, err)
	}
	if a := last(); a.Before != "30/m" || a.After != "none" || a.Why != "over" {
		t.Errorf("taking it back is recorded as %+v", a)
	}
	if l := lane(); l.Limit != "" || l.LimitWhy != "" || l.EffectiveRate() != "10/s" {
		t.Errorf("the lane is %+v", l)
	}
}

func TestTheLowerRateIsTheEffectiveOne(t *testing.T) {
	for _, c := range []struct {
		lane   admin.Lane
		want   string
		slowed bool
	}{
		{admin.Lane{}, "", false}, {admin.Lane{Rate: "90/m"}, "90/m", false}, {admin.Lane{Limit: "1/s"}, "1/s", true},
		{admin.Lane{Rate: "90/m", Limit: "1/s"}, "1/s", true}, {admin.Lane{Rate: "90/m", Limit: "2/s"}, "90/m", false},
	} {
		if got := c.lane.EffectiveRate(); got != c.want || c.lane.Slowed() != c.slowed {
			t.Errorf("of %+v the pace is %q, slowed %t", c.lane, got, c.lane.Slowed())
		}
	}
}

func TestShowIsMaskedAndRevealRecorded(t *testing.T) {
	t.Parallel()
	s, db := newService(t)
	insert(t, db, "a", bson.M{"metadata": bson.M{"order": "o7"}})
	reader, revealer := actor(admin.RoleRead), actor(admin.RoleRead, admin.RoleReveal)
	view, err := s.Show(t.Context(), reader, "a")
	if text := fmt.Sprint(view.Payload); err != nil || strings.Contains(text, "4711") || strings.Contains(text, "12345") || !strings.Contains(text, "+49") {
		t.Errorf("Show: %s, %v", text, err)
	}
	if view.Metadata["order"] != "o7" || len(view.Next.Steps) == 0 || len(view.Choices) != 5 || view.Choices[2].Allowed {
		t.Errorf("Show: %+v", view)
	}
	if _, err := s.Reveal(t.Context(), reader, "a", "x"); !errors.As(err, new(*admin.Forbidden)) {
		t.Errorf("revealed without the role: %v", err)
	}
	if _, err := s.Reveal(t.Context(), revealer, "a", ""); err == nil {
		t.Error("revealed without a reason")
	}
	payload, err := s.Reveal(t.Context(), revealer, "a", "a customer asks")
	if err != nil || !strings.Contains(fmt.Sprint(payload), "4711") {
		t.Errorf("Reveal: %v, %v", payload, err)
	}
	acts, err := s.Acts(t.Context(), revealer, outbox.ActFilter{On: "a"})
	if err != nil || len(acts) != 1 || acts[0].Op != "reveal" || acts[0].Why != "a customer asks" || acts[0].Who != "ann" || strings.Contains(fmt.Sprint(acts), "4711") {
		t.Errorf("the audit has %+v, %v", acts, err)
	}
}

// deaf is an audit that cannot be written.
type deaf struct{ admin.Audit }

func (deaf) Begin(context.Context, ...outbox.Act) ([]outbox.Act, error) {
	return nil, errors.New("the disk is full")
}

func TestNothingIsDoneWithoutItsRecord(t *testing.T) {
	t.Parallel()
	s, db := newService(t)
	insert(t, db, "a", nil)
	c := s.Config
	c.Audit = deaf{s.Audit}
	if _, err := admin.New(c).Cancel(t.Context(), actor(admin.RoleRead, admin.RoleOperate), "a", "x"); err == nil {
		t.Error("cancelled without a record")
	}
	if _, err := admin.New(c).Reveal(t.Context(), actor(admin.RoleReveal), "a", "x"); err == nil {
		t.Error("revealed without a record")
	}
	in, err := s.Reader.Look(t.Context(), "a")
	if err != nil || in.Status != outbox.StatusPending {
		t.Errorf("it is %s, %v", in.Status, err)
	}
}

func TestRatesWithoutAnEndReachUntilNow(t *testing.T) {
	service, db := newService(t)
	minute := time.Now().UTC().Truncate(time.Minute)
	m := outbox.RateMinute{Minute: minute, Kind: "sms", RateCounters: outbox.RateCounters{Done: 7}}
	if err := store.New(db, "", store.Options{}).AddRates(t.Context(), []outbox.RateMinute{m}); err != nil {
		t.Fatal(err)
	}
	got, err := service.Rates(t.Context(), actor(admin.RoleRead), "", minute.Add(-time.Hour), time.Time{})
	if err != nil || len(got) != 1 || got[0].Done != 7 {
		t.Errorf("got %+v, %v", got, err)
	}
}
