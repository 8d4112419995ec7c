package auth

import (
	"sync"
	"time"
)

// Failed sign-ins that are let through in a minute.
const (
	failuresOfName    = 5  // of one name from one address
	failuresOfAddress = 30 // of one address under all names: names cost nothing to invent
	maxBuckets        = 10_000
)

// limiter counts failed sign-ins. An attempt takes from its bucket before the secret is looked at, so that many
// attempts at once are counted; one that succeeds gives back what it took.
type limiter struct {
	mu      sync.Mutex
	buckets map[string]*bucket
}

type bucket struct {
	left, most float64
	at         time.Time // monotonic
}

func newLimiter() *limiter { return &limiter{buckets: make(map[string]*bucket)} }

// take reports whether a sign-in may be tried.
func (l *limiter) take(address, name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	all, one := l.bucket(now, address, failuresOfAddress), l.bucket(now, address+" "+name, failuresOfName)
	if all.left < 1 || one.left < 1 {
		return false
	}
	all.left--
	one.left--
	return true
}

// giveBack ends an attempt that succeeded.
func (l *limiter) giveBack(address, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range []string{address, address + " " + name} {
		if b := l.buckets[key]; b != nil {
			b.left = min(b.left+1, b.most)
		}
	}
}

func (l *limiter) bucket(now time.Time, key string, most float64) *bucket {
	b := l.buckets[key]
	if b == nil {
		if len(l.buckets) >= maxBuckets {
			l.sweep(now)
		}
		if len(l.buckets) >= maxBuckets { // an attack from everywhere: the rest shares one bucket
			key = ""
			b = l.buckets[key]
		}
		if b == nil {
			b = &bucket{left: most, most: most, at: now}
			l.buckets[key] = b
		}
	}
	b.fill(now)
	return b
}

func (b *bucket) fill(now time.Time) {
	b.left = min(b.most, b.left+now.Sub(b.at).Minutes()*b.most)
	b.at = now
}

// sweep forgets what is full again.
func (l *limiter) sweep(now time.Time) {
	for key, b := range l.buckets {
		if b.fill(now); b.left >= b.most {
			delete(l.buckets, key)
		}
	}
}
