package dispatcher

import (
	"slices"

	"github.com/outboxd/outboxd/outbox"
)

// mostAvoided bounds how many intents a lane remembers; the oldest are forgotten first.
const mostAvoided = 256

// avoided are the intents that the provider last refused or gave no answer: another one is the better probe. Its lane's
// owner has it.
type avoided struct{ ids []outbox.ID }

// add notes an intent, as the newest.
func (s *avoided) add(id outbox.ID) {
	s.ids = slices.DeleteFunc(s.ids, func(other outbox.ID) bool { return other == id })
	s.ids = append(s.ids[max(0, len(s.ids)+1-mostAvoided):], id)
}
