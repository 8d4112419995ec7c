package simulator

import (
	"sync"
	"time"
)

// What claim found under a key.
const (
	keyFresh    = iota // nothing: execute, then save or forget
	keyReplay          // a saved answer
	keyBusy            // a request that is still being executed
	keyMismatch        // another endpoint or other parameters
)

type keyRecord struct {
	key, fingerprint string
	at               time.Time // first receipt, by the simulated clock
	request          string    // id of the first request
	saved            bool
	answer           reply
}

// keyStore remembers the first execution of each key for 24 hours. Its methods never wait.
type keyStore struct {
	mu      sync.Mutex
	records map[string]*keyRecord
	byAge   []*keyRecord // for pruning; may hold records that are no longer in the map
}

func (k *keyStore) reset() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.records, k.byAge = nil, nil
}

func (k *keyStore) claim(key, fingerprint string, now time.Time) (*keyRecord, int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.prune(now)
	rec := k.records[key]
	switch {
	case rec == nil:
	case rec.fingerprint != fingerprint:
		return nil, keyMismatch
	case !rec.saved:
		return nil, keyBusy
	default:
		return rec, keyReplay
	}
	rec = &keyRecord{key: key, fingerprint: fingerprint, at: now, request: newID("req_", 14)}
	if k.records == nil {
		k.records = map[string]*keyRecord{}
	}
	k.records[key] = rec
	k.byAge = append(k.byAge, rec)
	return rec, keyFresh
}

// prune forgets what is a day old; a request that is still being executed keeps its key.
func (k *keyStore) prune(now time.Time) {
	n := 0
	for ; n < len(k.byAge) && now.Sub(k.byAge[n].at) >= stripeKeyLife; n++ {
		rec := k.byAge[n]
		if k.records[rec.key] != rec {
			continue
		}
		if !rec.saved {
			break
		}
		delete(k.records, rec.key)
	}
	clear(k.byAge[:n])
	k.byAge = k.byAge[n:]
}

func (k *keyStore) save(rec *keyRecord, answer reply) {
	k.mu.Lock()
	defer k.mu.Unlock()
	rec.saved, rec.answer = true, answer
}

func (k *keyStore) forget(rec *keyRecord) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.records[rec.key] == rec {
		delete(k.records, rec.key)
	}
}
