package outbox

import "slices"

// outcomeAbsent is the outcome of a look-up that found nothing.
const outcomeAbsent Class = "absent"

// Records returns what the settlement adds to the intent's history. These are the attempts whose leases expired
// unrecorded, and the attempt itself if it counted, or the look-up. What was done at the provider besides comes
// before that.
func (s Settlement) Records() []Record {
	d, lease := s.Decision, s.Intent.Lease
	var records []Record
	for _, n := range d.Abandoned {
		records = append(records, Record{What: WhatAttempt, Attempt: n, Outcome: Ambiguous, Code: CodeLeaseExpired})
	}
	if s.Intent.Outcome != nil { // it was recorded with its outcome
		return records
	}
	for _, r := range d.Also {
		r.At, r.Worker = lease.At, lease.Owner
		records = append(records, r)
	}
	own := Record{At: lease.At, Took: s.Took, Worker: lease.Owner}
	switch {
	case d.Counted:
		own.What, own.Attempt, own.Outcome = WhatAttempt, d.Attempts, d.Outcome
	case d.Noted: // a call that was given back and may have had its effect: it has no number
		own.What, own.Outcome = WhatAttempt, d.Outcome
	case d.Event == Found:
		own.What, own.Outcome = WhatLookUp, Done
	case d.Event == Absent:
		own.What, own.Outcome = WhatLookUp, outcomeAbsent
	case d.Event == LookUpFailed:
		own.What, own.Outcome = WhatLookUp, Ambiguous
		if d.Seen != nil {
			own.Outcome = d.Seen.Class
		}
	default:
		return records
	}
	if f := d.Seen; f != nil {
		f := f.Stored()
		own.Code, own.ProviderCode, own.HTTPStatus, own.RequestID = f.Code, f.ProviderCode, f.HTTPStatus, f.RequestID
	}
	if r := d.Receipt; r != nil {
		own.HTTPStatus, own.RequestID, own.Ref = r.HTTPStatus, bounded(r.RequestID, maxForeign), bounded(r.ID, maxForeign)
	}
	return append(records, own)
}

// History returns the intent's whole history with what the settlement adds to it, and how many records were dropped
// in all to keep it short. It is nil where nothing is added. A history that cannot be read is left as it stands.
func (s Settlement) History() (history []Record, dropped int) {
	added := s.Records()
	if len(added) == 0 || s.Intent.historyUnread() {
		return nil, 0
	}
	history = slices.Clone(s.Intent.History)
	for _, r := range added {
		if last := len(history) - 1; last >= 0 && history[last].sameAs(r) {
			history[last] = history[last].folded(r)
		} else {
			history = append(history, r)
		}
	}
	attempts, others := 0, 0
	kept := make([]Record, 0, len(history))
	for _, r := range slices.Backward(history) {
		n := &others
		if r.isAttempt() {
			n = &attempts
		}
		if *n++; *n <= MaxHistory {
			kept = append(kept, r)
		}
	}
	slices.Reverse(kept)
	before, _ := wholeNumber(s.Intent.Document["dropped"])
	return kept, int(before) + len(history) - len(kept)
}

// sameAs reports whether a look-up, or a call without a number, learned the same as the one before it.
func (r Record) sameAs(next Record) bool {
	foldable := r.What == WhatLookUp || r.isCall() && !r.isAttempt()
	return foldable && r.What == next.What && !next.isAttempt() && r.Outcome == next.Outcome && r.Code == next.Code &&
		r.ProviderCode == next.ProviderCode && r.HTTPStatus == next.HTTPStatus && r.Ref == next.Ref
}

// folded returns one record for those so far and the next one. Its request and worker are the last one's.
func (r Record) folded(next Record) Record {
	next.First, next.Last, next.N = r.First, next.At, max(r.N, 1)+1
	if next.First.IsZero() {
		next.First = r.At
	}
	return next
}

// historyUnread reports whether the document's history holds what is no history.
func (in *Intent) historyUnread() bool {
	entries, _ := in.Document["history"].([]any)
	_, there := in.Document["history"]
	return there && len(entries) != len(in.History) || slices.ContainsFunc(in.Problems, func(p Problem) bool {
		return p.Path == "history" || len(p.Path) > 8 && p.Path[:8] == "history."
	})
}
