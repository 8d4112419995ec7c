package store

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store/internal/expr"
)

// jobDocument is a bulk job as it stands in the database. Reasons of refusals are text of any form, so they are values
// and not names of fields.
type jobDocument struct {
	ID       string          `bson:"_id"`
	Op       outbox.JobOp    `bson:"op"`
	Filter   filterDocument  `bson:"filter"`
	IDs      []string        `bson:"ids,omitempty"`
	Why      string          `bson:"why"`
	By       string          `bson:"by"`
	Approved string          `bson:"approved_by,omitempty"`
	Even     bool            `bson:"even_final,omitempty"`
	Rate     float64         `bson:"rate,omitempty"`
	Ramp     []int           `bson:"ramp,omitempty"`
	State    outbox.JobState `bson:"state"`
	Note     string          `bson:"note,omitempty"`
	Planned  time.Time       `bson:"planned"`
	Started  time.Time       `bson:"started,omitempty"`
	Finished time.Time       `bson:"finished,omitempty"`
	Plan     planDocument    `bson:"plan"`
	Counts   countsDocument  `bson:"counts"`
	Cursor   string          `bson:"cursor,omitempty"`
	Batch    []string        `bson:"batch,omitempty"`
	Canaries []string        `bson:"canaries,omitempty"`
	Due      time.Time       `bson:"due,omitempty"`
	Version  int64           `bson:"version"`
	Lease    leaseDocument   `bson:"lease,omitempty"`
}

type filterDocument struct {
	Kind         string    `bson:"kind,omitempty"`
	Reason       string    `bson:"reason,omitempty"`
	Code         string    `bson:"code,omitempty"`
	ProviderCode string    `bson:"provider_code,omitempty"`
	Since        time.Time `bson:"since,omitempty"`
	Until        time.Time `bson:"until,omitempty"`
}

type tally struct {
	What string `bson:"what"`
	N    int64  `bson:"n"`
}

type planDocument struct {
	Chosen  int64   `bson:"chosen"`
	Would   int64   `bson:"would"`
	Refused []tally `bson:"refused,omitempty"`
	Money   []tally `bson:"money,omitempty"`
	Charges int64   `bson:"charges"`
	Kinds   []tally `bson:"kinds,omitempty"`
	Capped  bool    `bson:"capped,omitempty"`
	Needs   bool    `bson:"needs_approval,omitempty"`
	Changed int64   `bson:"changed,omitempty"`
}

type countsDocument struct {
	Seen      int64   `bson:"seen"`
	Went      int64   `bson:"went"`
	Refused   []tally `bson:"refused,omitempty"`
	Changed   int64   `bson:"changed"`
	Done      int64   `bson:"done"`
	DiedAgain int64   `bson:"died_again"`
}

type leaseDocument struct {
	Owner string    `bson:"owner,omitempty"`
	Token string    `bson:"token,omitempty"`
	Until time.Time `bson:"until,omitempty"`
}

func tallies(counts map[string]int64) []tally {
	var list []tally
	for what, n := range counts {
		list = append(list, tally{what, n})
	}
	return list
}

func counted(list []tally) map[string]int64 {
	counts := make(map[string]int64, len(list))
	for _, t := range list {
		counts[t.What] = t.N
	}
	return counts
}

func jobDocumentOf(j outbox.Job) jobDocument {
	f, p, c := j.Filter, j.Plan, j.Counts
	return jobDocument{ID: j.ID, Op: j.Op, Filter: filterDocument{f.Kind, string(f.Reason), f.Code, f.ProviderCode, f.Since, f.Until},
		IDs: j.IDs, Why: j.Why, By: j.By, Approved: j.Approved, Even: j.Even, Rate: j.Rate, Ramp: j.Ramp, State: j.State, Note: j.Note,
		Planned: j.Planned, Started: j.Started, Finished: j.Finished,
		Plan:   planDocument{p.Chosen, p.Would, tallies(p.Refused), tallies(p.Money), p.Charges, tallies(p.Kinds), p.Capped, p.Needs, p.Changed},
		Counts: countsDocument{c.Seen, c.Went, tallies(c.Refused), c.Changed, c.Done, c.DiedAgain},
		Cursor: j.Cursor, Batch: j.Batch, Canaries: j.Canaries, Due: j.Due, Version: j.Version, Lease: leaseDocument(j.Lease)}
}

func (doc jobDocument) job() outbox.Job {
	f, p, c := doc.Filter, doc.Plan, doc.Counts
	lease := outbox.JobLease(doc.Lease)
	return outbox.Job{ID: doc.ID, Op: doc.Op, Filter: outbox.Search{Stage: outbox.StageDead, Kind: f.Kind, Reason: outbox.DeadReason(f.Reason),
		Code: f.Code, ProviderCode: f.ProviderCode, Since: f.Since, Until: f.Until},
		IDs: doc.IDs, Why: doc.Why, By: doc.By, Approved: doc.Approved, Even: doc.Even, Rate: doc.Rate, Ramp: doc.Ramp, State: doc.State,
		Note: doc.Note, Planned: doc.Planned, Started: doc.Started, Finished: doc.Finished,
		Plan: outbox.JobPlan{Chosen: p.Chosen, Would: p.Would, Refused: counted(p.Refused), Money: counted(p.Money), Charges: p.Charges,
			Kinds: counted(p.Kinds), Capped: p.Capped, Needs: p.Needs, Changed: p.Changed},
		Counts: outbox.JobCounts{Seen: c.Seen, Went: c.Went, Refused: counted(c.Refused), Changed: c.Changed, Done: c.Done, DiedAgain: c.DiedAgain},
		Cursor: doc.Cursor, Batch: doc.Batch, Canaries: doc.Canaries, Due: doc.Due, Version: doc.Version, Lease: lease}
}

// AddJob writes a new job.
func (d *Desk) AddJob(ctx context.Context, j outbox.Job) error {
	ctx, cancel := d.bound(ctx)
	defer cancel()
	_, err := d.jobs.InsertOne(ctx, jobDocumentOf(j))
	return failed(err, "write job %s", j.ID)
}

// Job returns a job, or [ErrNotFound].
func (d *Desk) Job(ctx context.Context, id string) (outbox.Job, error) {
	ctx, cancel := d.bound(ctx)
	defer cancel()
	var doc jobDocument
	err := d.jobs.FindOne(ctx, bson.D{{Key: "_id", Value: equal(id)}}).Decode(&doc)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return outbox.Job{}, fmt.Errorf("read job %q: %w", id, ErrNotFound)
	}
	return doc.job(), failed(err, "read job %q", id)
}

// Jobs returns the newest jobs first, 500 at most.
func (d *Desk) Jobs(ctx context.Context, limit int) ([]outbox.Job, error) {
	const doing = "list the jobs"
	ctx, cancel := d.bound(ctx)
	defer cancel()
	limit = min(cmp.Or(max(0, limit), defaultPage), mostPage)
	c, err := d.jobs.Find(ctx, bson.D{}, options.Find().SetSort(expr.Descending("planned")).SetLimit(int64(limit)))
	if err != nil {
		return nil, failed(err, doing)
	}
	var docs []jobDocument
	if err := c.All(ctx, &docs); err != nil {
		return nil, failed(err, doing)
	}
	jobs := make([]outbox.Job, len(docs))
	for i, doc := range docs {
		jobs[i] = doc.job()
	}
	return jobs, nil
}

// SaveJob writes a job if it still has the version that was read, and returns it with its new version. Otherwise the
// error wraps [ErrChanged].
func (d *Desk) SaveJob(ctx context.Context, j outbox.Job) (outbox.Job, error) {
	ctx, cancel := d.bound(ctx)
	defer cancel()
	was := j.Version
	j.Version++
	result, err := d.jobs.ReplaceOne(ctx, bson.D{{Key: "_id", Value: j.ID}, {Key: "version", Value: was}}, jobDocumentOf(j))
	if err != nil {
		return j, failed(err, "write job %s", j.ID)
	}
	if result.MatchedCount == 0 {
		return j, fmt.Errorf("write job %s: %w", j.ID, ErrChanged)
	}
	return j, nil
}

// LeaseJob takes a running job that nobody holds, the oldest first. ok is false where there is none.
func (d *Desk) LeaseJob(ctx context.Context, owner string, lease time.Duration) (j outbox.Job, ok bool, err error) {
	ctx, cancel := d.bound(ctx)
	defer cancel()
	over := expr.Lte(expr.IfNull("$lease.until", earliest), "$$NOW")
	var doc jobDocument
	err = d.jobs.FindOneAndUpdate(ctx, bson.D{{Key: "state", Value: outbox.JobRunning}, expr.Expr(over)},
		mongo.Pipeline{expr.Set(bson.D{
			{Key: "lease", Value: bson.D{{Key: "owner", Value: expr.Literal(owner)}, {Key: "token", Value: rand.Text()}, {Key: "until", Value: fromNow(lease)}}},
			{Key: "version", Value: expr.Add("$version", 1)},
		})},
		options.FindOneAndUpdate().SetReturnDocument(options.After).SetSort(expr.Fields("planned"))).Decode(&doc)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return outbox.Job{}, false, nil
	}
	return doc.job(), err == nil, failed(err, "take a job")
}
