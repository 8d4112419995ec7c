package page

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

const (
	// freshFor is how long what one update read is good for others. It keeps the load of the database the same however
	// many people watch.
	freshFor = 2 * time.Second
	mostSeen = 100 // views that are kept at once
)

// polls are what updates of views read last, by view and by what the person may see.
type polls struct {
	mu   sync.Mutex
	seen map[string]*poll
}

type poll struct {
	turn  chan struct{} // held while one reads for all who wait
	at    time.Time
	value any
}

// of returns the place of a view.
func (p *polls) of(key string) *poll {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen[key] == nil {
		if len(p.seen) >= mostSeen {
			clear(p.seen)
		}
		p.seen[key] = &poll{turn: make(chan struct{}, 1)}
	}
	return p.seen[key]
}

// polled reads what a view shows. A whole page is always read anew; updates of one view share what one of them read.
func polled[T any](c *call, read func() (T, error)) (T, error) {
	if !c.update() {
		return read()
	}
	roles, kinds := slices.Sorted(slices.Values(c.actor.Roles)), slices.Sorted(slices.Values(c.actor.Kinds))
	place := c.page.polls.of(fmt.Sprintf("%q %q %q %q", c.path, c.query("kind"), roles, kinds))
	select {
	case place.turn <- struct{}{}:
		defer func() { <-place.turn }()
	case <-c.Context().Done():
		var none T
		return none, c.Context().Err()
	}
	if value, ok := place.value.(T); ok && time.Since(place.at) < freshFor {
		return value, nil
	}
	value, err := read()
	if err == nil {
		place.value, place.at = value, time.Now()
	}
	return value, err
}
