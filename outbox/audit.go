package outbox

import "time"

// The outcomes of an [Act].
const (
	ActBegun   = "begun"   // it is recorded before it is carried out; what stays so may have happened
	ActDone    = "done"    // it was carried out
	ActRefused = "refused" // nothing was changed
	ActFailed  = "failed"  // it ended with an error; it may have happened
)

// Act is one record of the audit: what a person did, or tried to do.
type Act struct {
	ID      string    // of the record
	At      time.Time // by the database's clock
	Who     string
	Via     string // how the person was known: a token's name, oidc, proxy, cli
	Roles   []string
	From    string // the address that the request came from
	Op      string // retry, resolve, cancel, discard, pause, resume, reveal, plan, start, stop, approve
	On      string // an intent's name, a lane's kind, or a job's filter in words
	Why     string
	Before  string // the state before, in words; never a payload
	After   string // the state after, in words; never a payload
	Outcome string // [ActBegun] and what follows it
	Code    string // of what was refused or failed
	Job     string // the job that it belongs to
	Request string // the id of the request
}

// ActFilter chooses records of the audit. Fields that are set must all fit.
type ActFilter struct {
	Who, On, Job, Op string
	Since            time.Time
	Before           string // the ID of a record: only those written before it
	Limit            int    // 1 to 500; 0: 50
}
