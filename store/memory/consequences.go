package memory

import (
	"maps"
	"strings"
	"time"

	"github.com/outboxd/outboxd/outbox"
)

// consequences is what went wrong with what a settle brought along.
type consequences struct {
	notes []outbox.Note
	noted *outbox.Failure
}

// note keeps what went wrong; the first of them becomes last_error.
func (c *consequences) note(class outbox.Class, code, text string) {
	c.notes = append(c.notes, outbox.Note{Code: code, Text: text})
	if c.noted == nil {
		c.noted = &outbox.Failure{Class: class, Code: code, Message: text}
	}
}

// lastError returns what becomes last_error of an intent with the given failure of its own.
func (c *consequences) lastError(own *outbox.Failure) *outbox.Failure {
	return outbox.Beside(own, c.noted)
}

// consequences inserts the follow-ups of an intent that is about to be settled, and updates its business document.
func (s *Store) consequences(settlement outbox.Settlement, now time.Time) *consequences {
	c, d := &consequences{}, settlement.Decision
	followUps, update := settlement.Intent.Consequences(d, s.rules)
	for _, f := range followUps {
		s.follow(f, settlement, now, c)
	}
	if update == nil {
		return c
	}
	class := outbox.Done
	if d.Failure != nil {
		class = d.Failure.Class
	}
	switch {
	case len(update.Problems) > 0:
		c.note(class, outbox.CodeWriteBackMissed, outbox.UpdateRefused(*update))
	case !s.setBusiness(update.Collection, update.ID, update.Set):
		c.note(class, outbox.CodeWriteBackMissed, outbox.UpdateMissed(*update))
	}
	return c
}

func (s *Store) follow(f outbox.FollowUp, settlement outbox.Settlement, now time.Time, c *consequences) {
	base := f
	f = base.Numbered(settlement.Number())
	for n := max(2, settlement.Number()+1); ; n++ {
		there, ok := s.intents[key(f.ID)]
		if !ok {
			break
		}
		if settlement.Decision.Status == outbox.StatusDone && n == 2 && f.Same(there) {
			return
		}
		f = base.Numbered(n)
	}
	if dedup, ok := f.Document["dedup_key"]; ok && s.holdsDedup(dedup) {
		return
	}
	doc := maps.Clone(f.Document)
	failure := f.Refused("")
	if failure == nil && s.refuse != nil {
		if why := s.refuse(doc); why != "" {
			failure = f.Refused(why)
		}
	}
	if failure == nil {
		doc["due_at"] = now.Add(f.Delay)
	} else {
		doc["status"], doc["dead_reason"], doc["dead_at"] = string(outbox.StatusDead), string(outbox.ReasonInvalid), now
		doc["last_error"] = errorDocument(failure, now)
	}
	if err := s.insert(doc); err != nil {
		c.note(outbox.Invalid, outbox.CodeFollowUpRefused, f.Lost("it could not be kept"))
	}
}

// InsertBusiness adds a business document for write_back to update.
func (s *Store) InsertBusiness(collection string, doc map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.business[collection] == nil {
		s.business[collection] = make(map[string]map[string]any)
	}
	s.business[collection][key(doc["_id"])] = clone(doc).(map[string]any)
}

// Business returns a copy of the business document with the _id, nil if there is none.
func (s *Store) Business(collection string, id any) map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	doc, ok := s.business[collection][key(id)]
	if !ok {
		return nil
	}
	return clone(doc).(map[string]any)
}

// setBusiness sets fields by their paths, and reports whether there is such a document.
func (s *Store) setBusiness(collection string, id any, set map[string]any) bool {
	doc, ok := s.business[collection][key(id)]
	if !ok {
		return false
	}
	for path, value := range set {
		at, steps := doc, strings.Split(path, ".")
		for _, step := range steps[:len(steps)-1] {
			next, ok := at[step].(map[string]any)
			if !ok {
				next = make(map[string]any)
				at[step] = next
			}
			at = next
		}
		at[steps[len(steps)-1]] = clone(value)
	}
	return true
}
