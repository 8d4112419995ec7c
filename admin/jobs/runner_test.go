package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/admin"
	"github.com/outboxd/outboxd/admin/jobs"
	"github.com/outboxd/outboxd/integration/mongodb/mongotest"
	"github.com/outboxd/outboxd/migrations"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store"
)

type world struct {
	*testing.T
	db      *mongo.Database
	desk    *store.Desk
	service *admin.Service
}

func policy(kind string) outbox.Policy {
	p := outbox.Policy{Retry: outbox.RetryPolicy{MaxAttempts: 12, Base: time.Second, Max: time.Minute}, OnAmbiguous: outbox.Park}
	if kind == outbox.KindCharge {
		p.AsksFirst, p.OnAmbiguous = true, outbox.Retry
	}
	return p
}

func newWorld(t *testing.T) *world {
	db := mongotest.Database(t)
	if _, err := migrations.New(db, "").Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	desk := store.New(db, "", store.Options{}).Desk()
	if err := desk.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return &world{t, db, desk, admin.New(admin.Config{Reader: desk, State: desk, Operator: desk, Controls: desk, Jobs: desk, Audit: desk,
		Kinds: []string{"charge", "email", "sms"}, Policy: policy})}
}

func (w *world) runner(o admin.Operator, j admin.Jobs, a admin.Audit) *jobs.Runner {
	return jobs.New(jobs.Config{Reader: w.desk, Operator: o, Jobs: j, Audit: a, Policy: policy, Now: w.desk.Now, Owner: "test",
		Log: slog.New(slog.DiscardHandler)})
}

var (
	ann = admin.Actor{Who: "ann", Via: "test", Roles: []admin.Role{admin.RoleRead, admin.RoleOperate}}
	bob = admin.Actor{Who: "bob", Via: "test", Roles: []admin.Role{admin.RoleRead, admin.RoleApprove}}
)

// letters inserts n dead letters of every sort in turn. Every sixth is ambiguous, every sixth has opted out.
func (w *world) letters(n int) {
	w.Helper()
	died := w.desk.Now().Add(-time.Hour).Truncate(time.Millisecond)
	sorts := []struct {
		kind, reason, class, code string
	}{
		{"sms", "exhausted", "transient", "unavailable"}, {"sms", "ambiguous", "ambiguous", "no_answer"}, {"sms", "permanent", "permanent", "opted_out"},
		{"charge", "exhausted", "transient", "unavailable"}, {"charge", "permanent", "permanent", "declined"}, {"email", "expired", "expired", "expired"},
	}
	payloads := map[string]bson.D{
		"sms":    {{Key: "to", Value: "+4915112345678"}, {Key: "from", Value: "+15550001111"}, {Key: "body", Value: "x"}},
		"email":  {{Key: "to", Value: "a@example.com"}, {Key: "from", Value: "b@example.com"}, {Key: "subject", Value: "x"}, {Key: "text", Value: "x"}},
		"charge": {{Key: "amount", Value: 4200}, {Key: "currency", Value: "eur"}, {Key: "customer", Value: "cus_1"}, {Key: "payment_method", Value: "pm_1"}},
	}
	docs := make([]any, n)
	for i := range docs {
		s := sorts[i%len(sorts)]
		doc := bson.D{{Key: "_id", Value: fmt.Sprintf("letter-%05d", i)}, {Key: "kind", Value: s.kind}, {Key: "status", Value: "dead"}, {Key: "payload", Value: payloads[s.kind]},
			{Key: "attempts", Value: 1}, {Key: "first_attempt_at", Value: died.Add(-time.Minute)}, {Key: "dead_at", Value: died.Add(time.Duration(i/7) * time.Millisecond)},
			{Key: "dead_reason", Value: s.reason}, {Key: "last_error", Value: bson.D{{Key: "class", Value: s.class}, {Key: "code", Value: s.code}, {Key: "at", Value: died}}},
			{Key: "history", Value: bson.A{bson.D{{Key: "what", Value: "attempt"}, {Key: "attempt", Value: 1}, {Key: "at", Value: died.Add(-time.Minute)},
				{Key: "outcome", Value: s.class}, {Key: "code", Value: s.code}, {Key: "worker", Value: "w"}}}}}
		if s.reason == "ambiguous" {
			doc = append(doc, bson.E{Key: "ambiguous_at", Value: died})
		}
		if s.reason == "expired" {
			doc = append(doc, bson.E{Key: "expires_at", Value: died})
		}
		docs[i] = doc
	}
	if _, err := w.db.Collection("outbox").InsertMany(w.Context(), docs, options.InsertMany().SetBypassDocumentValidation(true)); err != nil {
		w.Fatal(err)
	}
}

// started plans a job over everything that is dead, has it approved, and starts it.
func (w *world) started(r admin.JobRequest) admin.JobView {
	w.Helper()
	r.Why, r.Filter.Since = "the provider works again", time.Unix(0, 0)
	view, err := w.service.Plan(w.Context(), ann, r)
	if err != nil {
		w.Fatal(err)
	}
	if view.Plan.Needs {
		if _, err := w.service.Start(w.Context(), ann, view.ID); code(err) != admin.ApprovalMissing {
			w.Fatalf("started without approval: %v", err)
		}
		self := ann
		self.Roles = append([]admin.Role{admin.RoleApprove}, ann.Roles...)
		if _, err := w.service.Approve(w.Context(), self, view.ID, "fine"); code(err) != admin.SelfApproval {
			w.Fatalf("approved by who planned it: %v", err)
		}
		if _, err := w.service.Approve(w.Context(), bob, view.ID, "fine"); err != nil {
			w.Fatal(err)
		}
	}
	if _, err := w.service.Start(w.Context(), ann, view.ID); err != nil {
		w.Fatal(err)
	}
	return view
}

func code(err error) admin.Code {
	if e, ok := errors.AsType[*admin.Error](err); ok {
		return e.Code
	}
	return ""
}

// check finds every letter either retried once or refused, and the audit complete.
func (w *world) check(id string, n int) outbox.Job {
	w.Helper()
	job, err := w.desk.Job(w.Context(), id)
	if err != nil {
		w.Fatal(err)
	}
	retried := int64(n / 6 * 2)
	want := map[string]int64{"ambiguous_needs_verdict": int64(n / 6), "final_for_recipient": int64(n / 6 * 2), "expired": int64(n / 6)}
	if job.State != outbox.JobDone || job.Counts.Went != retried || job.Counts.Changed != 0 || fmt.Sprint(job.Counts.Refused) != fmt.Sprint(want) || job.Counts.Seen != int64(n) {
		w.Errorf("the job is %s (%s) with %+v, want %d retried and %v refused", job.State, job.Note, job.Counts, retried, want)
	}
	once, err := w.db.Collection("outbox").CountDocuments(w.Context(), bson.M{"status": "pending", "retried.n": 1, "history": bson.M{"$elemMatch": bson.M{"job": id}}, "history.2": bson.M{"$exists": false}})
	if err != nil || once != retried {
		w.Errorf("%d letters were retried once, want %d: %v", once, retried, err)
	}
	names, err := w.db.Collection("outbox_audit").Distinct(w.Context(), "on", bson.M{"job": id, "op": "retry"}).Raw()
	if err != nil {
		w.Fatal(err)
	}
	if values, _ := names.Values(); len(values) != n {
		w.Errorf("the audit has %d letters, want %d", len(values), n)
	}
	done, err := w.db.Collection("outbox_audit").CountDocuments(w.Context(), bson.M{"job": id, "op": "retry", "outcome": outbox.ActDone})
	if err != nil || done != retried {
		w.Errorf("the audit has %d done, want %d: %v", done, retried, err)
	}
	refused, err := w.db.Collection("outbox_audit").CountDocuments(w.Context(), bson.M{"job": id, "op": "retry", "outcome": outbox.ActRefused})
	if err != nil || refused != int64(n)-retried {
		w.Errorf("the audit has %d refused, want %d: %v", refused, int64(n)-retried, err)
	}
	open, err := w.db.Collection("outbox_audit").CountDocuments(w.Context(), bson.M{"job": id, "outcome": outbox.ActBegun})
	if err != nil || open != 0 {
		w.Errorf("the audit has %d acts that are only begun: %v", open, err)
	}
	return job
}

func TestReplayOfAllReasons(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := 10_002
	if testing.Short() {
		n = 1002
	}
	w.letters(n)
	view := w.started(admin.JobRequest{Op: outbox.JobRetry, Ramp: []int{}})
	if !view.Plan.Needs || view.Plan.Money["eur"] != view.Plan.Charges*4200 || view.Plan.Charges == 0 {
		t.Errorf("planned %+v", view.Plan)
	}
	if worked, err := w.runner(w.desk, w.desk, w.desk).Once(t.Context()); !worked || err != nil {
		t.Fatalf("Once: %t, %v", worked, err)
	}
	w.check(view.ID, n)
}

var errCrash = errors.New("the process is gone")

// crash lets a process die after so many calls: from then on nothing that it does reaches the database.
type crash struct {
	*store.Desk
	mu   sync.Mutex
	left int
}

func (c *crash) dead() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left--
	return c.left < 0
}

func (c *crash) Retry(ctx context.Context, in outbox.Snapshot, r outbox.DeadRetry, h outbox.Hand) error {
	if c.dead() {
		return errCrash
	}
	return c.Desk.Retry(ctx, in, r, h)
}

func (c *crash) SaveJob(ctx context.Context, j outbox.Job) (outbox.Job, error) {
	if c.dead() {
		return j, errCrash
	}
	return c.Desk.SaveJob(ctx, j)
}

func (c *crash) Begin(ctx context.Context, acts ...outbox.Act) ([]outbox.Act, error) {
	if c.dead() {
		return nil, errCrash
	}
	return c.Desk.Begin(ctx, acts...)
}

func (c *crash) End(ctx context.Context, acts ...outbox.Act) error {
	if c.dead() {
		return errCrash
	}
	return c.Desk.End(ctx, acts...)
}

func TestJobSurvivesItsProcesses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const n = 600
	w.letters(n)
	view := w.started(admin.JobRequest{Op: outbox.JobRetry, Ramp: []int{}})
	for range 20 {
		c := &crash{Desk: w.desk, left: rand.IntN(40)}
		if worked, err := w.runner(c, c, c).Once(t.Context()); !worked || err == nil {
			break
		}
		w.leaseOver(view.ID)
	}
	if _, err := w.runner(w.desk, w.desk, w.desk).Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.check(view.ID, n)
}

// A letter that a job names, and that dies again before another process takes the job over, is not retried by it
// twice. A filter leaves it alone by the instant of its death, a name does not.
func TestNamedLetterThatDiesBetweenCrashAndTakeover(t *testing.T) {
	t.Parallel()
	for name, written := range map[string]int{"before the end is recorded": 2, "before the cursor is written": 3} { // after the batch and the begin, and the end
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.letters(12)
			page, err := w.desk.Find(t.Context(), outbox.Search{Stage: outbox.StageDead, Code: "unavailable"})
			if err != nil || len(page.Items) != 4 {
				t.Fatalf("%d letters that may be retried, want 4: %v", len(page.Items), err)
			}
			var ids []string
			for _, in := range page.Items {
				ids = append(ids, in.Name)
			}
			view, err := w.service.Plan(t.Context(), ann, admin.JobRequest{Op: outbox.JobRetry, IDs: ids, Why: "it is back", Ramp: []int{}})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.service.Start(t.Context(), ann, view.ID); err != nil {
				t.Fatal(err)
			}
			dies := &settling{Desk: w.desk, w: w, ends: func(int) string { return "dead" }}
			c := &crash{Desk: w.desk, left: written}
			if worked, err := w.runner(dies, c, c).Once(t.Context()); !worked || !errors.Is(err, errCrash) {
				t.Fatalf("Once: %t, %v, want a crash", worked, err)
			}
			w.leaseOver(view.ID)
			if worked, err := w.runner(dies, w.desk, w.desk).Once(t.Context()); !worked || err != nil {
				t.Fatalf("Once after the crash: %t, %v", worked, err)
			}
			once, err := w.db.Collection("outbox").CountDocuments(t.Context(), bson.M{"status": "dead", "retried.n": 1})
			if err != nil || once != 4 || dies.n != 4 {
				t.Errorf("%d of 4 letters were retried once, with %d retries in all: %v", once, dies.n, err)
			}
			done, err := w.db.Collection("outbox_audit").CountDocuments(t.Context(), bson.M{"job": view.ID, "op": "retry", "outcome": outbox.ActDone})
			job, jobErr := w.desk.Job(t.Context(), view.ID)
			if err := errors.Join(err, jobErr); err != nil || done != 4 || job.State != outbox.JobDone || job.Counts.Went != 4 || job.Counts.Seen != 4 {
				t.Errorf("the audit has %d done, the job is %s after %+v, want 4 and done: %v", done, job.State, job.Counts, err)
			}
		})
	}
}

// leaseOver ends the lease of a job, as time would.
func (w *world) leaseOver(id string) {
	w.Helper()
	if _, err := w.db.Collection("outbox_jobs").UpdateOne(w.Context(), bson.M{"_id": id}, bson.M{"$set": bson.M{"lease.until": time.Unix(0, 0)}}); err != nil {
		w.Fatal(err)
	}
}
