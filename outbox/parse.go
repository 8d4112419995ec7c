package outbox

import (
	"math"
	"time"
)

// ContractVersion is the only value of the field v.
const ContractVersion = 1

const (
	maxPriority  = 3
	maxAttempts  = 100
	maxFollowUps = 16
	maxDepth     = 3 // of follow-ups of follow-ups
	defaultPrio  = 1
	maxDelaySecs = math.MaxInt32
)

// Rules are the parts of the contract that a deployment sets.
type Rules struct {
	// WriteBack lists the collections that write_back may name.
	WriteBack []string
	// AnyWriteBack lets write_back name any collection: for a check without the workers' configuration.
	AnyWriteBack bool
	// Namespace is that of the outbox, which migrate made. It is part of every intent's idempotency keys.
	Namespace string
}

// Parse reads an intent's document and checks it against the contract. It never fails: what is wrong is in the
// intent's Problems. The document's values are string, bool, int64, float64, time.Time, nil, [ID] (for ObjectId and
// UUID), []any, map[string]any, [Fields] for documents of free form, and [Unsupported] for all else. The intent keeps
// the document; it must not change afterwards.
func Parse(doc map[string]any, rules Rules) *Intent {
	in := &Intent{Document: doc, Namespace: rules.Namespace}
	r := newReader(doc, "", &in.Problems)
	in.parseIdentity(r)
	in.parseEnvelope(r)
	r.mapped()
	r.exact = true // what a worker reads about its own doings is never guessed
	in.parseWorkerFields(r)
	r.exact = false
	in.parseFollowUps(r, rules)
	r.rest()
	return in
}

// parseIdentity reads what claims and logs need even of a malformed intent.
func (in *Intent) parseIdentity(r *reader) {
	id, _ := r.value("_id", optional)
	switch id := id.(type) {
	case ID:
		in.ID = id
	case string:
		in.ID = NewStringID(id)
	}
	if text := in.ID.String(); text == "" || len(text) > MaxIDBytes {
		r.problem("_id", "must be an ObjectId, a UUID or a string of 1 to 200 bytes")
	}
	in.Kind = r.text("kind", required, 0)
	status := r.pattern("status", required, func(s string) bool {
		return s == string(StatusPending) || s == string(StatusLeased) || Status(s).Final()
	}, "pending, leased, done, dead or cancelled")
	in.Status = Status(status)
}

func (in *Intent) parseEnvelope(r *reader) {
	if v, ok := r.value("v", optional); ok {
		if n, isInt := wholeNumber(v); !isInt || n != ContractVersion {
			r.problem("v", "must be 1")
		}
	}
	due := optional
	if in.Status == StatusPending || in.Status == StatusLeased {
		due = required
	}
	in.DueAt = r.date("due_at", due)
	in.ExpiresAt = r.date("expires_at", optional)
	in.Priority = defaultPrio
	if r.has("priority") {
		in.Priority = int(r.integer("priority", optional, 0, maxPriority))
	}
	if r.stands("ordering_key") {
		r.saw("ordering_key")
		r.problem("ordering_key", "is not supported by this release")
	}
	in.DedupKey = r.text("dedup_key", optional, 0)
	in.MaxAttempts = int(r.integer("max_attempts", optional, 1, maxAttempts))
	in.OnAmbiguous = Ambiguity(r.pattern("on_ambiguous", optional, func(s string) bool {
		return s == string(Retry) || s == string(Reconcile) || s == string(Park)
	}, "retry, reconcile or park"))
	in.Metadata = r.texts("metadata", 0, 0, 0)
	r.reserved("metadata")
	if t := r.sub("trace"); t != nil {
		in.Trace = Trace{Parent: t.text("traceparent", optional, 0), State: t.text("tracestate", optional, 0)}
		t.rest()
	}
	r.date("created_at", optional)

	v, ok := r.value("payload", required)
	switch payload := v.(type) {
	case map[string]any:
		in.Payload = parsePayload(in.Kind, newReader(payload, r.path+"payload.", r.problems))
	default:
		if ok {
			r.problem("payload", "must be a document")
		}
	}
}

// parseWorkerFields reads what only workers write. A wrong type there is a problem like any other. If the number of
// attempts or the progress cannot be read, nothing may be sent.
func (in *Intent) parseWorkerFields(r *reader) {
	retries := 0
	in.Attempts = int(r.integer("attempts", optional, 0, math.MaxInt32))
	if l := r.sub("lease"); l != nil {
		in.Lease = Lease{Token: l.text("token", required, 0), Owner: l.text("owner", optional, 0), At: l.date("at", optional), Reclaimed: l.boolean("reclaimed")}
	}
	in.FirstAttemptAt = r.date("first_attempt_at", optional)
	in.AmbiguousAt = r.date("ambiguous_at", optional)
	in.Generation = int(r.integer("generation", optional, 0, math.MaxInt32))
	in.Progress = r.document("progress", optional)
	for _, h := range r.list("history", 0) {
		in.History = append(in.History, parseRecord(h))
	}
	r.integer("dropped", optional, 0, math.MaxInt32)
	if o := r.sub("outcome"); o != nil {
		in.Outcome = parseOutcome(o)
	}
	in.FirstDueAt = r.date("first_due_at", optional)
	if retried := r.sub("retried"); retried != nil {
		in.RetriedAt = retried.date("at", optional)
		in.Retries = int(retried.integer("n", optional, 0, math.MaxInt32))
	}
	for _, r := range in.History { // of what a person did without counting it
		if r.What == WhatRetry {
			retries++
		}
	}
	in.Retries = max(in.Retries, retries)
	for _, field := range [...]string{"last_error", "result", "resolved"} {
		r.document(field, optional)
	}
	for _, field := range [...]string{"done_at", "dead_at", "cancelled_at", "purge_at"} {
		r.date(field, optional)
	}
	in.DeadReason = DeadReason(r.text("dead_reason", optional, 0))
}

func parseRecord(h *reader) Record {
	record := Record{
		What:         WhatAttempt,
		Attempt:      int(h.integer("attempt", optional, 0, math.MaxInt32)),
		At:           h.date("at", optional),
		Took:         time.Duration(h.integer("ms", optional, 0, math.MaxInt32)) * time.Millisecond,
		Outcome:      Class(h.text("outcome", optional, 0)),
		Code:         h.text("code", optional, 0),
		ProviderCode: h.text("provider_code", optional, 0),
		HTTPStatus:   int(h.integer("http_status", optional, 0, math.MaxInt32)),
		RequestID:    h.text("request_id", optional, 0),
		Ref:          h.text("ref", optional, 0),
		Worker:       h.text("worker", optional, 0),
		By:           h.text("by", optional, 0),
		Why:          h.text("why", optional, 0),
		Job:          h.text("job", optional, 0),
		First:        h.date("first", optional),
		Last:         h.date("last", optional),
		N:            int(h.integer("n", optional, 0, math.MaxInt32)),
	}
	if what := h.text("what", optional, 0); what != "" {
		record.What = What(what)
	} else if !h.has("attempt") { // an older entry: only attempts were recorded, each with its number
		h.problem("attempt", "is required")
	}
	return record
}

// parseOutcome reads what a settle recorded because it could not write the rest yet. What it cannot read is a
// problem, so that nothing is sent on the strength of it.
func parseOutcome(o *reader) *Outcome {
	outcome := &Outcome{
		Event:    eventNamed(o.text("event", required, 0)),
		Reason:   DeadReason(o.text("reason", optional, 0)),
		Class:    Class(o.text("class", optional, 0)),
		Attempts: int(o.integer("attempts", optional, 0, math.MaxInt32)),
		At:       o.date("at", optional),
		Tries:    int(o.integer("tries", optional, 0, math.MaxInt32)),
		Why:      o.text("why", optional, 0),
	}
	if outcome.Event == 0 {
		o.problem("event", "is not one that a worker writes")
	}
	if r := o.sub("receipt"); r != nil {
		outcome.Receipt = &Receipt{Provider: r.text("provider", optional, 0), ID: r.text("id", optional, 0), Status: r.text("status", optional, 0)}
	}
	if f := o.sub("failure"); f != nil {
		outcome.Failure = &Failure{
			Class: Class(f.text("class", optional, 0)), Code: f.text("code", optional, 0), Message: f.text("message", optional, 0),
			Provider: f.text("provider", optional, 0), ProviderCode: f.text("provider_code", optional, 0),
			HTTPStatus: int(f.integer("http_status", optional, 0, math.MaxInt32)), RequestID: f.text("request_id", optional, 0),
		}
	}
	if (outcome.Receipt == nil) == (outcome.Reason == "") {
		o.problem("receipt", "or reason is required, and only one of them")
	}
	return outcome
}
