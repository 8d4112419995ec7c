package outbox

import "time"

// DefaultRamp is how many letters of a job go before it looks at what became of them.
func DefaultRamp() []int { return []int{1, 10, 100} }

// MostDiedAgain is the part of the letters of a ramp that may die again. If more do, the job stops itself.
const MostDiedAgain = 0.2

// DoneBy reports whether the job has changed the intent already.
func (in *Intent) DoneBy(job string) bool {
	for _, r := range in.History {
		if r.Job == job && (r.What == WhatRetry || r.What == WhatDiscard) {
			return true
		}
	}
	return false
}

// JobOp is what a [Job] does with each dead letter that it chooses.
type JobOp string

// The operations of jobs.
const (
	JobRetry   JobOp = "retry"
	JobDiscard JobOp = "discard"
)

// JobState is a job's place in its life.
type JobState string

// The states of a job.
const (
	JobPlanned  JobState = "planned"  // a dry run was made; nothing happens before it is started
	JobApproved JobState = "approved" // a second person agreed to it
	JobRunning  JobState = "running"  // whoever leases it goes on with it
	JobPaused   JobState = "paused"   // it stands still until it is started again
	JobStopped  JobState = "stopped"  // a person ended it, or it ended itself because too many died again
	JobDone     JobState = "done"     // it has seen all that it was to see
	JobFailed   JobState = "failed"   // it met what it cannot go past
)

// Ended reports whether nothing follows the state.
func (s JobState) Ended() bool { return s == JobStopped || s == JobDone || s == JobFailed }

// Job is a change of many dead letters. It is kept in the database, so that any process can go on with it.
type Job struct {
	ID       string
	Op       JobOp
	Filter   Search   // of dead letters; its Until is when the job was planned, so that later deaths are left alone
	IDs      []string // instead of the filter: these letters alone, by name
	Why      string
	By       string  // who planned it
	Approved string  // who agreed to it; empty: nobody
	Even     bool    // also what the provider refused for good
	Rate     float64 // letters a second; 0: no limit
	Ramp     []int   // how many go before the job looks at what became of them; empty: all at once

	State    JobState
	Note     string // why it stands still or ended, for people
	Planned  time.Time
	Started  time.Time // zero: not yet
	Finished time.Time // zero: not yet

	Plan     JobPlan
	Counts   JobCounts
	Cursor   string    // where the next batch begins
	Batch    []string  // the letters that are being changed, by name: who takes the job over looks at them first
	Canaries []string  // the letters of the ramp, by name
	Due      time.Time // the due_at that the last letter got
	Version  int64     // raised by each write
	Lease    JobLease
}

// JobLease is one process's right to carry out a job.
type JobLease struct {
	Owner string
	Token string
	Until time.Time
}

// JobPlan is what a dry run found.
type JobPlan struct {
	Chosen  int64
	Would   int64            // would go
	Refused map[string]int64 // by reason, in words
	Money   map[string]int64 // of the charges that would go, in minor units by currency
	Charges int64            // that would go
	Kinds   map[string]int64 // that would go, by kind
	Capped  bool             // there are more than the dry run looked at
	Needs   bool             // a second person has to approve
	// Changed is how many were changed since they were listed. They are left alone.
	Changed int64
}

// JobCounts is how far a job is.
type JobCounts struct {
	Seen      int64
	Went      int64 // retried or discarded
	Refused   map[string]int64
	Changed   int64 // changed meanwhile, and so left alone
	Done      int64 // of the ramp's letters: done since
	DiedAgain int64 // of the ramp's letters: dead again
}
