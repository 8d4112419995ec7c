package jobs_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/admin"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store"
)

// settling is an operator after whose retries the letters end at once, as a worker would end them.
type settling struct {
	*store.Desk
	w    *world
	ends func(n int) string // the status of the nth letter

	mu sync.Mutex
	n  int
}

func (s *settling) Retry(ctx context.Context, in outbox.Snapshot, r outbox.DeadRetry, h outbox.Hand) error {
	if err := s.Desk.Retry(ctx, in, r, h); err != nil {
		return err
	}
	s.mu.Lock()
	s.n++
	status := s.ends(s.n)
	s.mu.Unlock()
	set := bson.M{"status": status, status + "_at": s.w.desk.Now()}
	if status == "dead" {
		set["dead_reason"] = "exhausted"
	}
	_, err := s.w.db.Collection("outbox").UpdateOne(ctx, bson.M{"_id": in.Name}, bson.M{"$set": set, "$unset": bson.M{"due_at": ""}})
	return err
}

func TestRamp(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ends  func(int) string
		state outbox.JobState
		went  int64
	}{
		"all well":           {func(int) string { return "done" }, outbox.JobDone, 200},
		"the first one dies": {func(int) string { return "dead" }, outbox.JobStopped, 1},
		"many of ten die":    {func(n int) string { return []string{"done", "dead"}[min(1, n/8)] }, outbox.JobStopped, 11},
		"few of ten die":     {func(n int) string { return []string{"done", "dead"}[n/10*10/max(1, n)] }, outbox.JobDone, 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.letters(600)
			view := w.started(admin.JobRequest{Op: outbox.JobRetry})
			o := &settling{Desk: w.desk, w: w, ends: c.ends}
			if worked, err := w.runner(o, w.desk, w.desk).Once(t.Context()); !worked || err != nil {
				t.Fatalf("Once: %t, %v", worked, err)
			}
			job, err := w.desk.Job(t.Context(), view.ID)
			if err != nil || job.State != c.state || job.Counts.Went != c.went {
				t.Errorf("the job is %s (%s) after %+v, want %s after %d: %v", job.State, job.Note, job.Counts, c.state, c.went, err)
			}
		})
	}
}

// A rate sets due_at ahead by ten seconds at most, so that what a stop leaves is little. A pause and a stop take effect
// between two batches.
func TestRatePauseAndStop(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.letters(600)
	view := w.started(admin.JobRequest{Op: outbox.JobRetry, Rate: 2, Ramp: []int{}})
	running := func() (finished chan error) {
		finished = make(chan error, 1)
		go func() {
			_, err := w.runner(w.desk, w.desk, w.desk).Once(t.Context())
			finished <- err
		}()
		return finished
	}
	finished := running()
	var job outbox.Job
	for job.Counts.Went == 0 {
		select {
		case err := <-finished:
			t.Fatalf("it ended before it retried one: %v", err)
		default:
		}
		var err error
		if job, err = w.desk.Job(t.Context(), view.ID); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.service.PauseJob(t.Context(), ann, view.ID, "look first"); err != nil {
		t.Fatal(err)
	}
	if err := <-finished; err != nil {
		t.Fatal(err)
	}
	late, err := w.db.Collection("outbox").CountDocuments(t.Context(), bson.M{"due_at": bson.M{"$gt": w.desk.Now().Add(21 * time.Second)}})
	if err != nil || late > 0 {
		t.Errorf("%d letters are due later than a stop can reach: %v", late, err)
	}
	paused, err := w.desk.Job(t.Context(), view.ID)
	if err != nil || paused.State != outbox.JobPaused || paused.Counts.Went == 0 || paused.Counts.Went > 60 {
		t.Errorf("paused: %s after %+v, %v", paused.State, paused.Counts, err)
	}
	if _, err := w.service.PauseJob(t.Context(), ann, view.ID, "x"); code(err) != admin.JobNotRunning {
		t.Errorf("paused twice: %v", err)
	}
	if _, err := w.service.Start(t.Context(), ann, view.ID); err != nil {
		t.Fatal(err)
	}
	finished = running()
	if _, err := w.service.StopJob(t.Context(), ann, view.ID, "enough"); err != nil {
		t.Fatal(err)
	}
	if err := <-finished; err != nil {
		t.Fatal(err)
	}
	if stopped, err := w.desk.Job(t.Context(), view.ID); err != nil || stopped.State != outbox.JobStopped {
		t.Errorf("stopped: %s, %v", stopped.State, err)
	}
	if _, err := w.service.Start(t.Context(), ann, view.ID); code(err) != admin.JobNotRunning {
		t.Errorf("started after its end: %v", err)
	}
}
