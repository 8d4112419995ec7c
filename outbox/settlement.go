package outbox

import (
	"slices"
	"strings"
	"time"
)

// MaxHistory is the number of attempts that history keeps, the last ones.
const MaxHistory = 20

// maxMessage bounds last_error.message in bytes: long enough for a list of problems, short enough for a log line.
const maxMessage = 1000

// maxForeign bounds what a provider can make of our documents with its codes and ids, in bytes.
const maxForeign = 200

// ClaimOrder asks a store for intents to attempt.
type ClaimOrder struct {
	Kind  string
	Limit int           // at most so many, at least 1
	Lease time.Duration // from the database's now
	Owner string        // the worker's name
	// Spread is how many workers claim this kind, as far as is known. Where it is above 1 and much more waits than Limit, a
	// store may take a random run of what is first in order instead of the very first, so that workers do not fight for it.
	Spread int
	// Soon says that another claim of the kind follows within a moment, so that this one may miss what has come to stand before
	// all that the last ones found.
	Soon bool
	// Only names the intents to take, as far as they are of the kind and due; nil: whatever is due. They come in any order.
	Only []ID
	// Sample asks for any of what is due instead of the first in order: for a probe, which must not meet the same few intents
	// again and again. It may be the newest as well as the oldest.
	Sample bool
	// Except names what a sample leaves out.
	Except []ID
}

// Settlement asks a store to write what was decided about a claimed intent, if the claim's token still holds.
type Settlement struct {
	Intent   *Intent // as it was claimed
	Decision Decision
	Took     time.Duration // of the attempt
}

// Settled is a store's answer to one [Settlement].
type Settled struct {
	// Lost says that the token no longer held: another worker has claimed the intent since. Nothing was written.
	Lost bool
	// Waiting says that the outcome is recorded in the intent, and why its consequences are not written yet: a lock, an
	// election, a change of schema. Whoever claims it next tries again. Empty: nothing waits.
	Waiting string
	// Busy says why nothing could be written now, though nothing is wrong: another transaction holds the intent itself. The
	// same settlement must be settled again. Empty: it was written.
	Busy string
	// Notes lists what went wrong beside the outcome, which is written all the same: a write_back without a target, a
	// follow-up that was refused.
	Notes []Note
}

// Note is something that went wrong beside an outcome.
type Note struct {
	Code string // one of [Codes]
	Text string // our own words
}

// Records returns what the settlement appends to the intent's history: the attempts whose leases ran out unrecorded, and
// the attempt itself if it counted, or, without a number, if it was given back but may have had its effect.
func (s Settlement) Records() []Record {
	var records []Record
	for _, n := range s.Decision.Abandoned {
		records = append(records, Record{What: WhatAttempt, Attempt: n, Outcome: Ambiguous, Code: CodeLeaseExpired})
	}
	if s.Decision.Counted || s.Decision.Noted {
		record := Record{What: WhatAttempt, At: s.Intent.Lease.At, Took: s.Took, Outcome: s.Decision.Outcome, Worker: s.Intent.Lease.Owner}
		if s.Decision.Counted {
			record.Attempt = s.Decision.Attempts
		}
		if s.Decision.Failure != nil {
			record.Code = s.Decision.Failure.Code
		}
		records = append(records, record)
	}
	return records
}

// Stored returns the failure as it may stand in a document: its texts are valid UTF-8 of bounded length, and the cause,
// which may hold what must not be stored, is gone.
func (f *Failure) Stored() Failure {
	return Failure{
		Class: f.Class, Code: f.Code, Message: bounded(f.Message, maxMessage), Provider: f.Provider,
		ProviderCode: bounded(f.ProviderCode, maxForeign), HTTPStatus: f.HTTPStatus, RequestID: bounded(f.RequestID, maxForeign),
	}
}

// Repeated answers a settlement that the fence refused, by the intent as it is now (nil if there is none): either an
// earlier try wrote it and its answer got lost, or the lease was lost.
func (s Settlement) Repeated(now *Intent) Settled {
	if !s.writtenIn(now) {
		return Settled{Lost: true}
	}
	last, _ := now.Document["last_error"].(map[string]any)
	message, _ := last["message"].(string)
	code, _ := last["code"].(string)
	if message != "" && (code == CodeWriteBackMissed || code == CodeFollowUpRefused) {
		return Settled{Notes: []Note{{code, message}}}
	}
	return Settled{}
}

// writtenIn reports whether the intent as it is now shows that this settlement was written.
//
// An attempt that counted is found by its record in history. What was given back leaves no record, but one attempt less
// than any other worker can leave: the claim after a lease that ran out counts on from it.
func (s Settlement) writtenIn(now *Intent) bool {
	d, was := s.Decision, s.Intent
	if now == nil || now.Lease.Token == was.Lease.Token {
		return false
	}
	if d.Counted {
		return slices.ContainsFunc(now.History, func(r Record) bool {
			return r.Attempt == d.Attempts && r.At.Equal(was.Lease.At) && r.Worker == was.Lease.Owner && r.Outcome == d.Outcome
		})
	}
	if now.Status == StatusLeased {
		return d.Status == StatusPending && !now.Lease.Reclaimed && now.Attempts == d.Attempts+1
	}
	return now.Status == d.Status && now.Attempts == d.Attempts
}

// bounded cuts a text to at most n bytes and makes it valid UTF-8.
func bounded(s string, n int) string {
	if len(s) > n {
		s = s[:n-len("…")] + "…"
	}
	return strings.ToValidUTF8(s, "")
}
