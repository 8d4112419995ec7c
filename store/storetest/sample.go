package storetest

import (
	"fmt"
	"time"

	"github.com/outboxd/outboxd/outbox"
)

func sampleTests() []test {
	return []test{
		{"Sample/any of what is due", sampleAny},
		{"Sample/all but some", sampleExcept},
	}
}

func (e *env) sample(limit int, except ...outbox.ID) []string {
	e.Helper()
	claimed, err := e.s.Claim(e.ctx(), outbox.ClaimOrder{Kind: kind, Limit: limit, Lease: lease, Owner: owner, Sample: true, Except: except})
	if err != nil {
		e.Fatalf("Claim: %v", err)
	}
	return ids(claimed)
}

// sampleAny meets the newest as well as the oldest, of every priority, and nothing that is not due.
func sampleAny(e *env) {
	firsts := make(map[string]bool)
	const rounds = 400 // the rarest is the first in one of twelve
	for round := 0; round < rounds && len(firsts) < 4; round++ {
		name := func(s string) string { return fmt.Sprintf("%d-%s", round, s) }
		e.insert(name("oldest"), fields{"due_at": e.ago(time.Hour)})
		e.insert(name("middle"), fields{"due_at": e.ago(time.Minute)})
		e.insert(name("newest"), nil)
		e.insert(name("first"), fields{"priority": int64(0)})
		e.insert(name("later"), fields{"due_at": e.s.Now().Add(time.Hour)})
		e.insert(name("other kind"), fields{"kind": outbox.KindEmail})
		for n := range 4 {
			got := e.sample(1)
			if len(got) != 1 {
				e.Fatalf("a sample of one took %v", got)
			}
			if n == 0 {
				firsts[got[0][len(fmt.Sprint(round))+1:]] = true
			}
		}
		if got := e.sample(1); len(got) != 0 {
			e.Fatalf("a sample took %v, which is not due", got)
		}
	}
	for _, want := range []string{"oldest", "middle", "newest", "first"} {
		if !firsts[want] {
			e.Errorf("in %d samples the %s was never the first: %v", rounds, want, firsts)
		}
	}
}

// sampleExcept leaves out what it is told to, however much that is.
func sampleExcept(e *env) {
	var except []outbox.ID
	for n := range 150 {
		e.insert(fmt.Sprint("refused", n), fields{"due_at": e.ago(time.Duration(n) * time.Second), "priority": int64(n % 2)})
		except = append(except, outbox.NewStringID(fmt.Sprint("refused", n)))
	}
	e.insert(outbox.NewObjectID([12]byte{7}), nil)
	except = append(except, outbox.NewObjectID([12]byte{7}))
	if got := e.sample(5, except...); len(got) != 0 {
		e.Errorf("it took %v, all of which were to be left out", got)
	}
	e.insert("other", fields{"due_at": e.ago(75 * time.Second), "priority": int64(1)})
	if got := e.sample(5, except...); len(got) != 1 || got[0] != "other" {
		e.Errorf("it took %v, want the only one that was not to be left out", got)
	}
}
