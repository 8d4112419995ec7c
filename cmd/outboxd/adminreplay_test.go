package main

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers/simulator"
	"github.com/outboxd/outboxd/store"
)

// replayLanes lets workers go as fast as they can, give up a call soon, and go on past the failures that are meant.
const replayLanes = "lanes:\n" +
	"  charge: {concurrency: 16, rate: 100000/s, timeout: 2s, lease: 30s, retry: {base: 50ms, max: 1s}, reconcile: {wait: 1s, interval: 1s, absent_after: 3s, give_up: 8s}, breaker: {min_requests: 1000000, consecutive: 1000000, open_for: 1s}}\n" +
	"  email: {concurrency: 16, timeout: 2s, lease: 30s, retry: {base: 50ms, max: 1s}, reconcile: {wait: 1s, interval: 1s, absent_after: 3s, give_up: 8s}, breaker: {min_requests: 1000000, consecutive: 1000000, open_for: 1s}}\n" +
	"  sms: {concurrency: 16, timeout: 2s, lease: 30s, retry: {base: 50ms, max: 1s}, breaker: {min_requests: 1000000, consecutive: 1000000, open_for: 1s}}\n"

// misbehave lets the providers fail in every way that a delivery has to bear: server errors, rate limits, answers that
// are lost after the effect, and calls that never end.
func (w *world) misbehave(t *testing.T) {
	t.Helper()
	for i, f := range []simulator.Fault{
		{Provider: simulator.ProviderStripe, Route: "create", Do: simulator.DoStatus, Status: 500, Match: simulator.Match{Probability: 0.1}},
		{Provider: simulator.ProviderStripe, Route: "confirm", Do: simulator.DoReset, When: simulator.After, Match: simulator.Match{Probability: 0.05}},
		{Provider: simulator.ProviderStripe, Route: "confirm", Do: simulator.DoHang, When: simulator.After, Match: simulator.Match{Probability: 0.01}},
		{Provider: simulator.ProviderStripe, Route: "confirm", Do: simulator.DoStatus, Status: 503, When: simulator.After, Match: simulator.Match{Probability: 0.03}},
		{Provider: simulator.ProviderSendGrid, Route: "send", Do: simulator.DoReset, When: simulator.After, Match: simulator.Match{Probability: 0.05}},
		{Provider: simulator.ProviderSendGrid, Route: "send", Do: simulator.DoHang, When: simulator.After, Match: simulator.Match{Probability: 0.01}},
		{Provider: simulator.ProviderSendGrid, Route: "send", Do: simulator.DoStatus, Status: 503, Match: simulator.Match{Probability: 0.05}},
		{Provider: simulator.ProviderTwilio, Route: "send", Do: simulator.DoReset, When: simulator.After, Match: simulator.Match{Probability: 0.05}},
		{Provider: simulator.ProviderTwilio, Route: "send", Do: simulator.DoHang, When: simulator.After, Match: simulator.Match{Probability: 0.01}},
		{Provider: simulator.ProviderTwilio, Route: "send", Do: simulator.DoStatus, Status: 500, Match: simulator.Match{Probability: 0.03}},
	} {
		f.Match.Times, f.Match.Seed = -1, uint64(i)
		w.fault(t, f)
	}
	for _, provider := range []string{simulator.ProviderStripe, simulator.ProviderSendGrid, simulator.ProviderTwilio} {
		w.fault(t, simulator.Fault{Provider: provider, Do: simulator.DoStatus, Status: 429, Match: simulator.Match{Nth: 20, Times: 2},
			Headers: map[string]string{"Retry-After": "1", "X-RateLimit-Reset": "+1"}})
	}
}

// operators are the two people that a job of many charges takes.
type operators struct{ operate, approve string }

// replay plans a job over every dead letter, has it approved and starts it.
func (d *adminProcess) replay(t *testing.T, who operators) string {
	t.Helper()
	plan := d.call(t, "POST", "/api/v1/jobs", `{"op":"retry","filter":{"since":"2020-01-01T00:00:00Z"},"why":"the providers work again","ramp":[1,10,20]}`, bearer(who.operate)).want(t, 201)
	job := "/api/v1/jobs/" + fmt.Sprint(plan.field("id"))
	if plan.field("plan.needs") == true {
		d.call(t, "POST", job+"/start", "", bearer(who.operate)).want(t, 422)
		d.call(t, "POST", job+"/approve", `{"why":"I looked"}`, bearer(who.approve)).want(t, 200)
	}
	d.call(t, "POST", job+"/start", "", bearer(who.operate)).want(t, 200)
	return fmt.Sprint(plan.field("id"))
}

func replayed(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(cmp.Or(os.Getenv("OUTBOXD_REPLAY"), "1000"))
	if err != nil || n < 400 {
		t.Fatalf("OUTBOXD_REPLAY must be how many dead letters to replay, at least 400: %v", err)
	}
	return n
}

// Dead letters of all kinds, for all reasons and with all codes that the rules tell apart, are retried in bulk while
// the providers misbehave. The process that carries the job out is killed in the middle of it, and another goes on.
// Nothing is doubled, each letter that is refused is named with its reason, and the audit has the end of every act.
// OUTBOXD_REPLAY says how many letters there are.
func TestAdminReplayOfAllReasons(t *testing.T) {
	w, n := newWorld(t), replayed(t)
	path, secrets := tokens(t, "operate", "approve")
	who := operators{secrets["operate"], secrets["approve"]}
	file := filepath.Join(t.TempDir(), "workers.yaml")
	if err := os.WriteFile(file, []byte(replayLanes), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, body := post(t, w.sim.StripeURL+"/_sim/settings", `{"search_lag":"1s"}`); code != 200 {
		t.Fatal(body)
	}
	began := time.Now()
	of := w.die(t, n, file)
	before := w.letterDocuments(t)
	for id, s := range of {
		if before[id].Lookup("status").StringValue() != "dead" {
			t.Fatalf("%s (%s %s) is not dead: %s", id, s.kind, s.name, before[id])
		}
	}
	w.insert(t, bson.D{{Key: "_id", Value: "cancelled"}, {Key: "kind", Value: "sms"}, {Key: "status", Value: "cancelled"}, {Key: "payload", Value: intent("sms", "")[4].Value}})
	t.Logf("%d letters died within %v", n, time.Since(began).Round(time.Millisecond))

	worker := launch(t, w.env, "worker", "--config", file, "--log-format", "json", "--log-level", "error")
	configuration := "  tokens_file: " + path + "\n" + replayLanes
	one := w.admin(t, configuration)

	// The provider of the first letter to go is not well yet: the job stops itself after that one, and stays stopped.
	w.insert(t, with(buried("sms", "first", "exhausted", "not_sent", time.Now()), bson.E{Key: "payload.to", Value: "+4915100000009"}))
	of["first"] = sort{name: "died again", kind: "sms"}
	w.fault(t, simulator.Fault{Provider: simulator.ProviderTwilio, Route: "send", When: simulator.After, Do: simulator.DoReset, Match: simulator.Match{To: "+4915100000009"}})
	r := &replay{world: w, T: t, of: of, before: before, desk: store.New(w.db, "", store.Options{}).Desk()}
	ids := []string{one.replay(t, who)}
	eventually(t, "the job stops itself", func() bool { return r.job(ids[0]).State.Ended() })
	if job := r.job(ids[0]); job.State != outbox.JobStopped || job.Counts.Went != 1 || job.Counts.DiedAgain != 1 || !strings.Contains(job.Note, "it stopped itself") {
		t.Fatalf("the first job is %s (%s) after %+v", job.State, job.Note, job.Counts)
	}
	one.call(t, "POST", "/api/v1/jobs/"+ids[0]+"/start", "", bearer(who.operate)).want(t, 422)

	// As an operator would, the test plans the rest anew, as often as a job stops itself.
	w.misbehave(t)
	began = time.Now()
	var two *adminProcess
	killed := false
	at := n / 10 // letters that went, when the process is killed: past the ramp, and far from the end
	owners := make(map[string]bool)
	for {
		serving := one
		if killed {
			serving = two
		}
		id := serving.replay(t, who)
		ids = append(ids, id)
		if two == nil { // only now, so that the first process has the job
			eventually(t, "a process takes the job", func() bool { return r.job(id).Lease.Owner != "" })
			two = w.admin(t, configuration)
		}
		if len(ids) > 10 {
			t.Fatal("ten jobs stopped themselves")
		}
		var job outbox.Job
		within(t, 5*patience, "the job ends", func() bool {
			if job = r.job(id); job.State.Ended() {
				return true
			}
			if !killed && job.Lease.Owner != "" {
				owners[job.Lease.Owner] = true
			}
			if !killed && job.Counts.Went >= int64(at) && r.audited(t, bson.D{{Key: "job", Value: id}, {Key: "outcome", Value: outbox.ActBegun}}) > 0 {
				one.signal(t, syscall.SIGKILL)
				one.end(t)
				killed = true
				job = r.job(id)
				t.Logf("killed after %v, with %d of %d letters counted and %d in its batch", time.Since(began).Round(time.Millisecond), job.Counts.Went, job.Plan.Would, len(job.Batch))
				if job.State.Ended() || len(owners) != 1 || !owners[job.Lease.Owner] {
					t.Fatalf("the job is %s, in the hands of %v and %s, want one process that has it", job.State, owners, job.Lease.Owner)
				}
			}
			return false
		})
		t.Logf("job %d is %s (%s) after %v, with %+v", len(ids), job.State, job.Note, time.Since(began).Round(time.Millisecond), job.Counts)
		if job.State == outbox.JobDone {
			break
		}
		if job.State != outbox.JobStopped || !strings.Contains(job.Note, "it stopped itself") {
			t.Fatalf("the job is %s: %s", job.State, job.Note)
		}
	}
	if !killed {
		t.Fatal("the job was over before its process could be killed")
	}
	w.settled(t)
	worker.signal(t, syscall.SIGTERM)
	if code := worker.end(t); code != exitDone {
		t.Errorf("the worker's exit code is %d\n%s", code, worker.log)
	}
	t.Logf("all has ended after %v", time.Since(began).Round(time.Millisecond))
	r.check(two, who, ids)
}

// letterDocuments returns the letters by their ids.
func (w *world) letterDocuments(t *testing.T) map[string]bson.Raw {
	t.Helper()
	cursor, err := w.outbox().Find(t.Context(), bson.D{})
	if err != nil {
		t.Fatal(err)
	}
	docs := make(map[string]bson.Raw)
	for cursor.Next(t.Context()) {
		docs[cursor.Current.Lookup("_id").StringValue()] = bytes.Clone(cursor.Current)
	}
	if err := cursor.Err(); err != nil {
		t.Fatal(err)
	}
	return docs
}

// replay is what a bulk replay is judged by.
type replay struct {
	*world
	*testing.T
	of     map[string]sort
	before map[string]bson.Raw // as they were before the first job
	desk   *store.Desk
}

func (r *replay) job(id string) outbox.Job {
	r.Helper()
	job, err := r.desk.Job(r.Context(), id)
	if err != nil {
		r.Fatal(err)
	}
	return job
}

// check compares what the provider had, what the letters tell, what the jobs count and what the audit records.
func (r *replay) check(d *adminProcess, who operators, ids []string) {
	r.Helper()
	after := r.letterDocuments(r.T)
	r.effects(after)
	retried := r.letters(after)
	acts := r.audit()
	refused := make(map[string]map[string]string) // by job and letter
	for _, a := range acts {
		switch {
		case a.Op != "retry":
		case a.Outcome == outbox.ActDone:
			retried[a.Job][a.On]--
		case a.Outcome == outbox.ActRefused:
			if refused[a.Job] == nil {
				refused[a.Job] = make(map[string]string)
			}
			if refused[a.Job][a.On] != "" {
				r.Errorf("job %s names %s twice as refused", a.Job, a.On)
			}
			refused[a.Job][a.On] = a.Code
		}
	}
	for job, letters := range retried {
		for id, n := range letters {
			if n != 0 {
				r.Errorf("job %s retried %s, and the audit has %d records too few that it was done", job, id, n)
			}
		}
	}
	for i, id := range ids {
		job, counts := r.job(id), make(map[string]int64)
		for on, why := range refused[id] {
			counts[why]++
			if s := r.of[on]; i < len(ids)-1 || r.retriedBy(after[on]) > 0 { // it stopped before it saw all, or refuses what died again
				continue
			} else if s.refused == "" || !strings.HasPrefix(why, s.refused) {
				r.Errorf("%s (%s %s) was refused: %q, want %q", on, s.kind, s.name, why, s.refused)
			}
		}
		if job.Counts.Went != int64(len(retried[id])) || !maps.Equal(job.Counts.Refused, counts) || job.Counts.Changed != 0 || job.Counts.Seen != int64(len(retried[id])+len(refused[id])) {
			r.Errorf("job %d counts %+v, want %d that went and %v", i, job.Counts, len(retried[id]), counts)
		}
		view := d.call(r.T, "GET", "/api/v1/jobs/"+id, "", bearer(who.operate)).want(r.T, 200)
		if fmt.Sprint(view.field("counts.went"), view.field("counts.seen")) != fmt.Sprint(float64(job.Counts.Went), float64(job.Counts.Seen)) {
			r.Errorf("the API tells of %v, want %+v", view.field("counts"), job.Counts)
		}
	}
	last := r.job(ids[len(ids)-1])
	for id, s := range r.of {
		if _, named := refused[last.ID][id]; s.refused != "" && !named {
			r.Errorf("%s (%s %s) is not named as refused", id, s.kind, s.name)
		}
	}
	if last.Plan.Chosen != last.Counts.Seen && !last.Plan.Capped || !last.Plan.Capped && last.Plan.Would != last.Counts.Went {
		r.Errorf("planned %+v, and the job counts %+v", last.Plan, last.Counts)
	}
	r.Logf("%d letters, %d effects, %d acts, the last job: %+v", len(r.of), len(r.sim.Sim.Effects()), len(acts), last.Counts)
}

// retriedBy is how many jobs retried the letter, by its history.
func (r *replay) retriedBy(doc bson.Raw) int {
	return strings.Count(doc.Lookup("history").String(), `"job"`)
}

// effects finds that nothing was doubled, and that what is done has its effect.
func (r *replay) effects(after map[string]bson.Raw) {
	r.Helper()
	effects := make(map[string]int)
	for _, e := range r.sim.Sim.Effects() {
		effects[cmp.Or(e.OutboxID, strings.TrimPrefix(e.Body, "Order "))]++ // without callbacks a text does not carry its id
	}
	for id, n := range effects {
		if _, known := r.of[id]; n > 1 || !known {
			r.Errorf("%s (%s %s) had %d effects", id, r.of[id].kind, r.of[id].name, n)
		}
	}
	for id, s := range r.of {
		status := after[id].Lookup("status").StringValue()
		reason, _ := after[id].Lookup("dead_reason").StringValueOK()
		want := 0
		if status == "done" || s.refused != "" && s.acted {
			want = 1
		}
		if effects[id] != want && reason != "ambiguous" {
			r.Errorf("%s (%s %s) is %s and had %d effects, want %d", id, s.kind, s.name, status, effects[id], want)
		}
	}
}

// letters finds each letter retried as the rules say, or as it was. It returns which job retried which letters.
func (r *replay) letters(after map[string]bson.Raw) map[string]map[string]int {
	r.Helper()
	if len(after) != len(r.of)+1 || after["cancelled"].Lookup("status").StringValue() != "cancelled" {
		r.Errorf("%d documents, want %d, and the cancelled one as it was: %s", len(after), len(r.of)+1, after["cancelled"])
	}
	retried, states := make(map[string]map[string]int), make(map[string]int)
	for id, s := range r.of {
		if s.refused != "" {
			if !bytes.Equal(after[id], r.before[id]) {
				r.Errorf("%s (%s %s) was to be left alone, and is another: %s", id, s.kind, s.name, after[id])
			}
			continue
		}
		var doc struct {
			Status     string
			DeadReason string `bson:"dead_reason"`
			Generation int64
			Retried    struct{ N int }
			History    []struct{ What, Job string }
		}
		if err := bson.Unmarshal(after[id], &doc); err != nil {
			r.Fatal(err)
		}
		states[doc.Status+" "+doc.DeadReason]++
		times := 0
		for _, h := range doc.History {
			if h.What != "retry" {
				continue
			}
			times++
			if retried[h.Job] == nil {
				retried[h.Job] = make(map[string]int)
			}
			if retried[h.Job][id]++; retried[h.Job][id] > 1 {
				r.Errorf("job %s retried %s twice", h.Job, id)
			}
		}
		if times == 0 || doc.Retried.N != times || doc.Generation != s.generation {
			r.Errorf("%s (%s %s) was retried %d times and says %d; its generation is %d, want %d", id, s.kind, s.name, times, doc.Retried.N, doc.Generation, s.generation)
		}
	}
	r.Logf("what was retried ended as %v", states)
	return retried
}

// act is a record of the audit.
type act struct{ Op, On, Outcome, Code, Job, Who string }

// audit returns the records, and finds that each act has an end.
func (r *replay) audit() []act {
	r.Helper()
	cursor, err := r.db.Collection("outbox_audit").Find(r.Context(), bson.D{})
	if err != nil {
		r.Fatal(err)
	}
	var acts []act
	if err := cursor.All(r.Context(), &acts); err != nil {
		r.Fatal(err)
	}
	for _, a := range acts {
		failed := a.Outcome == outbox.ActFailed && a.Code != "interrupted" // the process was killed before it came to it
		if a.Outcome == outbox.ActBegun || failed || a.Who == "" || a.Op == "" {
			r.Errorf("the audit does not tell how it ended: %+v", a)
		}
	}
	return acts
}
