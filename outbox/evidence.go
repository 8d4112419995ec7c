package outbox

import (
	"fmt"
	"time"
)

// verdictSent and verdictNotSent are the values of resolved.verdict.
const (
	verdictSent    = "sent"
	verdictNotSent = "not_sent"
)

// effect says by which part of the document the provider has the effect; empty if nothing says so. A worker's
// document with such a part is done. In any other status a person wrote the status.
func (in *Intent) effect() string {
	failure, _ := in.Document["last_error"].(map[string]any)
	switch class, _ := failure["class"].(string); {
	case in.Document["result"] != nil:
		return "it has a result"
	case in.Document["done_at"] != nil:
		return "it has a done_at"
	case Class(class) == Done:
		return "the class of its last_error is done"
	case in.verdict() == verdictSent:
		return "a person answered that it was sent"
	}
	for _, r := range in.History {
		if r.Outcome == Done {
			return "its history has an outcome done"
		}
	}
	return ""
}

// doubt says by which part of the document the provider may have acted without anybody knowing; empty if no part says
// so.
//
// A worker keeps ambiguous_at for this. People edit documents, so every other trace of an ambiguous outcome counts as
// much: one of them is enough, whatever was done to the others. It is for intents that nobody holds.
func (in *Intent) doubt(p Policy) string {
	failure, _ := in.Document["last_error"].(map[string]any)
	class, _ := failure["class"].(string)
	failedAt, _ := failure["at"].(time.Time)
	answered := in.answeredAt()
	switch {
	case !in.AmbiguousAt.IsZero():
		return "ambiguous_at is set"
	case in.DeadReason == ReasonAmbiguous:
		return "its dead_reason is ambiguous"
	case in.Document["lease"] != nil:
		return "a lease is left in it, so its holder may have called the provider"
	case Class(class) == Ambiguous && (failedAt.IsZero() || failedAt.After(answered)):
		return "the class of its last_error is ambiguous"
	}
	if n := in.openAttempt(p, answered); n > 0 {
		return fmt.Sprintf("attempt %d in its history is ambiguous, and nothing after it settles that", n)
	}
	// A worker records every attempt that it counts. Without first_attempt_at no worker counted any.
	untold := in.Attempts > in.recorded() && !in.FirstAttemptAt.IsZero()
	if untold && (answered.IsZero() || in.RetriedAt.After(answered)) {
		return fmt.Sprintf("attempt %d was begun, and its history does not say how it ended", in.Attempts)
	}
	return ""
}

// openAttempt returns the number of the last ambiguous attempt in history that nothing after it settles, 0 if there
// is none.
func (in *Intent) openAttempt(p Policy, answered time.Time) int {
	open := 0
	for _, r := range in.History {
		switch {
		case r.isAttempt() && r.Outcome == Ambiguous:
			if open = max(1, r.Attempt); !r.At.IsZero() && !r.At.After(answered) {
				open = 0
			}
		case r.isAttempt() && p.AsksFirst:
			// The delivery asks about the attempts before it, and only a final no says that the asking went well.
			if r.Outcome == Permanent {
				open = 0
			}
		case r.isAttempt():
			if p.ambiguity(in) == Reconcile { // it was sent again because look-ups showed that it had not been sent
				open = 0
			}
		case r.What == WhatLookUp && (r.Code == "" || r.Outcome == Permanent), r.What == WhatCancelAtProvider:
			open = 0
		case r.What == WhatResolve && !answered.IsZero():
			open = 0
		}
	}
	return open
}

// verdict returns a person's answer to an ambiguous outcome, empty if there is none.
func (in *Intent) verdict() string {
	resolved, _ := in.Document["resolved"].(map[string]any)
	verdict, _ := resolved["verdict"].(string)
	return verdict
}

// answeredAt returns when a person answered that it was not sent, zero if nobody did. What the document tells of the
// time before is no doubt any more.
func (in *Intent) answeredAt() time.Time {
	if in.verdict() != verdictNotSent {
		return time.Time{}
	}
	resolved, _ := in.Document["resolved"].(map[string]any)
	at, _ := resolved["at"].(time.Time)
	return at
}

// codes returns what the last attempt failed with: the code of last_error, and that of the last record in history
// since a person last made it pending. A worker writes the same in both. Where they differ, a person edited one of
// them.
func (in *Intent) codes() []string {
	var codes []string
	add := func(code string) {
		if code != "" && code != CodeWriteBackMissed && code != CodeFollowUpRefused {
			codes = append(codes, code)
		}
	}
	failure, _ := in.Document["last_error"].(map[string]any)
	code, _ := failure["code"].(string)
	add(code)
	for i := len(in.History) - 1; i >= 0 && in.History[i].What != WhatRetry; i-- {
		if r := in.History[i]; r.Code != "" {
			add(r.Code)
			break
		}
	}
	return codes
}
