package outbox

import "strings"

// Refused returns the failure with which a follow-up is kept as a dead letter. Its Problems are the reason. If it has
// none, the database refused it for the reason given. It is nil if neither says anything.
func (f FollowUp) Refused(why string) *Failure {
	if len(f.Problems) > 0 {
		return invalidFailure(f.Problems)
	}
	if why == "" {
		return nil
	}
	return &Failure{Class: Invalid, Code: CodeFollowUpRefused, Message: "the follow-up was refused: " + why}
}

// Lost says that a follow-up could not even be kept as a dead letter. It holds nothing of the document.
func (f FollowUp) Lost(why string) string {
	return "follow-up " + printable(f.ID.String()) + " was not inserted: " + why
}

// UpdateMissed says that the business document of a write_back does not exist.
func UpdateMissed(u Update) string {
	return "write_back found no document with its id in the collection " + printable(u.Collection)
}

// UpdateRefused says that a write_back could not be made because of its Problems.
func UpdateRefused(u Update) string {
	texts := make([]string, len(u.Problems))
	for i, p := range u.Problems {
		texts[i] = p.String()
	}
	return "write_back was not made: " + strings.Join(texts, "; ")
}

// Beside returns what becomes last_error of an intent that has its own failure, or none, and beside which something
// else went wrong, or nothing. What went wrong beside it takes the code and leads the message; the provider's
// particulars stay.
func Beside(own, beside *Failure) *Failure {
	if own == nil || beside == nil {
		if own == nil {
			return beside
		}
		return own
	}
	both := *own
	both.Code = beside.Code
	both.Message = beside.Message + "; the intent itself: " + own.Code + ": " + own.Message
	return &both
}
