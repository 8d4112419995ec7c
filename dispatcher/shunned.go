package dispatcher

import (
	"slices"

	"github.com/outboxd/outboxd/outbox"
)

// mostShunned bounds how many intents a lane remembers; the oldest are forgotten first.
const mostShunned = 256

// shunned are the intents that the provider last refused or gave no answer: another one is the better probe. It is guarded by
// its lane's lock.
type shunned struct{ ids []outbox.ID }

// add notes an intent, as the newest.
func (s *shunned) add(id outbox.ID) {
	s.ids = slices.DeleteFunc(s.ids, func(other outbox.ID) bool { return other == id })
	s.ids = append(s.ids[max(0, len(s.ids)+1-mostShunned):], id)
}
