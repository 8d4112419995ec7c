package memory

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	rand2 "math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/outboxd/outboxd/outbox"
)

// defaultRetention is how long done intents are kept.
const defaultRetention = 168 * time.Hour

// Options configure a [Store]. The zero value of each field takes its default.
type Options struct {
	Rules     outbox.Rules
	Retention time.Duration // of done intents; defaults to 168h
	// Refuse stands in for the collection's validator: it returns why a follow-up may not be inserted, or "". It sees
	// only follow-ups that keep the contract. Nil accepts all.
	Refuse func(doc map[string]any) string
}

// Store is an outbox in memory. It is safe for concurrent use.
type Store struct {
	rules     outbox.Rules
	retention time.Duration
	refuse    func(doc map[string]any) string

	mu       sync.Mutex
	intents  map[string]map[string]any            // by key of the _id
	order    map[string]int                       // when each was inserted, to break ties
	business map[string]map[string]map[string]any // by collection and key of the _id
	locked   map[[2]string]int                    // by collection ("" for intents) and key of the _id: how many hold it
}

// New returns an empty store.
func New(o Options) *Store {
	return &Store{
		rules:     o.Rules,
		retention: cmp.Or(o.Retention, defaultRetention),
		refuse:    o.Refuse,
		intents:   make(map[string]map[string]any),
		order:     make(map[string]int),
		business:  make(map[string]map[string]map[string]any),
		locked:    make(map[[2]string]int),
	}
}

// Now returns the process's time, at the precision of the database.
func (s *Store) Now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// key makes an _id usable as the key of a map. A string and the ID of it are the same.
func key(id any) string {
	switch id := id.(type) {
	case outbox.ID:
		return fmt.Sprintf("%d:%s", id.Type(), id)
	case string:
		return key(outbox.NewStringID(id))
	default:
		return fmt.Sprintf("%T:%v", id, id)
	}
}

// Insert adds a document as a producer would, valid or not. It reports an error if the _id or the dedup_key exists.
func (s *Store) Insert(doc map[string]any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.insert(doc)
}

func (s *Store) insert(doc map[string]any) error {
	id := key(doc["_id"])
	if _, ok := s.intents[id]; ok {
		return fmt.Errorf("insert an intent: the _id %s exists", id)
	}
	if dedup, ok := doc["dedup_key"]; ok && s.holdsDedup(dedup) {
		return fmt.Errorf("insert intent %s: its dedup_key exists", id)
	}
	s.intents[id] = clone(doc).(map[string]any)
	s.order[id] = len(s.order)
	return nil
}

func (s *Store) holdsDedup(dedup any) bool {
	for _, doc := range s.intents {
		if other, ok := doc["dedup_key"]; ok && key(other) == key(dedup) {
			return true
		}
	}
	return false
}

// Get returns a copy of the document with the _id, nil if there is none.
func (s *Store) Get(id any) map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	doc, ok := s.intents[key(id)]
	if !ok {
		return nil
	}
	return clone(doc).(map[string]any)
}

// All returns copies of all documents in the order in which they were inserted.
func (s *Store) All() []map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := slices.SortedFunc(maps.Keys(s.intents), func(a, b string) int { return cmp.Compare(s.order[a], s.order[b]) })
	all := make([]map[string]any, len(ids))
	for i, id := range ids {
		all[i] = clone(s.intents[id]).(map[string]any)
	}
	return all
}

// Change sets fields of the document with the _id as somebody would by hand; nil as a value removes the field. It
// reports whether there is such a document.
func (s *Store) Change(id any, fields map[string]any) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	doc, ok := s.intents[key(id)]
	for name, value := range fields {
		switch {
		case !ok:
		case value == nil:
			delete(doc, name)
		default:
			doc[name] = clone(value)
		}
	}
	return ok
}

// ChangeWhere sets a field of all documents that match, at one instant.
func (s *Store) ChangeWhere(match func(doc map[string]any) bool, field string, value any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, doc := range s.intents {
		if match(doc) {
			doc[field] = clone(value)
		}
	}
}

// Claim takes up to order.Limit intents of a kind that are due, or whose lease ran out: by priority, then by due_at.
func (s *Store) Claim(ctx context.Context, order outbox.ClaimOrder) ([]*outbox.Intent, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.Now()
	found := s.find(func(doc map[string]any) bool {
		due, ok := doc["due_at"].(time.Time)
		_, claimable := band(doc)
		waiting := doc["status"] == string(outbox.StatusPending) || doc["status"] == string(outbox.StatusLeased)
		left := order.Sample && slices.ContainsFunc(order.Except, func(id outbox.ID) bool { return key(id) == key(doc["_id"]) })
		wanted := !left && order.Only == nil || order.Only != nil && slices.ContainsFunc(order.Only, func(id outbox.ID) bool { return key(id) == key(doc["_id"]) })
		return ok && claimable && waiting && wanted && doc["kind"] == order.Kind && !due.After(now)
	}, func(a, b map[string]any) int {
		bandA, _ := band(a)
		bandB, _ := band(b)
		return cmp.Or(cmp.Compare(bandA, bandB), a["due_at"].(time.Time).Compare(b["due_at"].(time.Time)))
	})
	if order.Sample {
		found = sample(found)
	}
	return s.take(ctx, found, order, now)
}

// sample returns the documents in another order: the last one first, or any.
func sample(docs []map[string]any) []map[string]any {
	if rand2.N(2) == 0 {
		slices.Reverse(docs)
	} else {
		rand2.Shuffle(len(docs), func(i, j int) { docs[i], docs[j] = docs[j], docs[i] })
	}
	return docs
}

// ClaimToSettle takes up to order.Limit intents that need no call to a provider: those whose recorded outcome is due,
// then those that have expired, the longest expired first; order.Kind "" takes those of every kind.
func (s *Store) ClaimToSettle(ctx context.Context, order outbox.ClaimOrder) ([]*outbox.Intent, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.Now()
	wanted := func(doc map[string]any) bool { return order.Kind == "" || doc["kind"] == order.Kind }
	found := s.find(func(doc map[string]any) bool {
		due, ok := doc["due_at"].(time.Time)
		_, recorded := doc["outcome"].(map[string]any)
		return ok && recorded && !due.After(now) && wanted(doc)
	}, func(a, b map[string]any) int { return a["due_at"].(time.Time).Compare(b["due_at"].(time.Time)) })
	found = append(found, s.find(func(doc map[string]any) bool {
		expires, ok := doc["expires_at"].(time.Time)
		return ok && !expires.After(now) && doc["outcome"] == nil && undoubted(doc, order, now) && wanted(doc)
	}, func(a, b map[string]any) int { return a["expires_at"].(time.Time).Compare(b["expires_at"].(time.Time)) })...)
	return s.take(ctx, found, order, now)
}

// undoubted reports whether nothing has to be asked about an expired intent.
func undoubted(doc map[string]any, order outbox.ClaimOrder, now time.Time) bool {
	due, dated := doc["due_at"].(time.Time)
	policy, known := order.Doubts[fmt.Sprint(doc["kind"])]
	if own, ok := doc["on_ambiguous"].(string); ok {
		policy = outbox.Ambiguity(own)
	}
	_, leased := doc["lease"]
	switch {
	case doc["due_at"] == nil || doc["ambiguous_at"] != nil:
		return false
	case doc["status"] == string(outbox.StatusPending) && !leased:
		return true
	case !known || policy == outbox.Reconcile:
		return false
	case doc["status"] == string(outbox.StatusPending):
		return true
	default:
		return doc["status"] == string(outbox.StatusLeased) && dated && !due.After(now)
	}
}

// Hold holds a business document, as somebody's open transaction does, until the function returned is called: meanwhile
// no settle can update it.
func (s *Store) Hold(collection string, id any) (release func()) {
	key := [2]string{collection, key(id)}
	change := func(by int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.locked[key] += by
	}
	change(1)
	return func() { change(-1) }
}

// HoldIntent holds an intent in the same way: meanwhile it is neither claimed nor settled.
func (s *Store) HoldIntent(id any) (release func()) { return s.Hold("", id) }

func (s *Store) holds(collection string, id any) bool {
	return s.locked[[2]string{collection, key(id)}] > 0
}

// band returns the priority of a document, and whether a claim can see it.
func band(doc map[string]any) (float64, bool) {
	switch p := doc["priority"].(type) {
	case nil:
		return 1, true
	case int64:
		return float64(p), p >= 0 && p <= 3
	case float64:
		return p, p == 0 || p == 1 || p == 2 || p == 3
	default:
		return 0, false
	}
}

// find returns the documents that match, sorted; what compares equal is in the order of insertion.
func (s *Store) find(match func(map[string]any) bool, compare func(a, b map[string]any) int) []map[string]any {
	type candidate struct {
		doc   map[string]any
		order int
	}
	var found []candidate
	for id, doc := range s.intents {
		if !s.holds("", doc["_id"]) && match(doc) {
			found = append(found, candidate{doc, s.order[id]})
		}
	}
	slices.SortFunc(found, func(a, b candidate) int {
		return cmp.Or(compare(a.doc, b.doc), cmp.Compare(a.order, b.order))
	})
	docs := make([]map[string]any, len(found))
	for i, c := range found {
		docs[i] = c.doc
	}
	return docs
}

// take leases the first of the documents found.
func (s *Store) take(ctx context.Context, found []map[string]any, order outbox.ClaimOrder, now time.Time) ([]*outbox.Intent, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("claim intents of kind %q: %w", order.Kind, context.Cause(ctx))
	}
	token := rand.Text()
	var claimed []*outbox.Intent
	for _, doc := range found[:min(order.Limit, len(found))] {
		_, stood := doc["lease"]
		_, begun := doc["first_attempt_at"]
		if _, kept := doc["first_due_at"]; !kept && !begun && doc["status"] == string(outbox.StatusPending) {
			doc["first_due_at"] = doc["due_at"]
		}
		doc["lease"] = map[string]any{"token": token, "owner": order.Owner, "at": now, "reclaimed": stood || doc["status"] == string(outbox.StatusLeased)}
		doc["status"] = string(outbox.StatusLeased)
		doc["due_at"] = now.Add(order.Lease)
		doc["attempts"] = int64(attempts(doc) + 1)
		if _, ok := doc["first_attempt_at"]; !ok {
			doc["first_attempt_at"] = now
		}
		claimed = append(claimed, outbox.Parse(clone(doc).(map[string]any), s.rules))
	}
	return claimed, nil
}

func attempts(doc map[string]any) int {
	switch n := doc["attempts"].(type) {
	case int64:
		return int(n)
	case float64:
		return int(n)
	default:
		return 0
	}
}

// SaveProgress stores p as the intent's progress. It returns [outbox.ErrLeaseLost] if the claim's token no longer
// holds.
func (s *Store) SaveProgress(ctx context.Context, in *outbox.Intent, p outbox.Progress) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil {
		return fmt.Errorf("save the progress of intent %s: %w", in.ID, context.Cause(ctx))
	}
	doc := s.held(in)
	if doc == nil {
		return fmt.Errorf("save the progress of intent %s: %w", in.ID, outbox.ErrLeaseLost)
	}
	doc["progress"] = clone(map[string]any(p))
	return nil
}

// held returns the intent's document while its claim's token holds, else nil.
func (s *Store) held(in *outbox.Intent) map[string]any {
	doc := s.intents[key(in.Document["_id"])]
	lease, _ := doc["lease"].(map[string]any)
	if token, ok := lease["token"]; !ok || token != in.Lease.Token {
		return nil
	}
	return doc
}

// clone copies a value however deep.
func clone(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if v == nil {
			return v
		}
		copied := make(map[string]any, len(v))
		for name, value := range v {
			copied[name] = clone(value)
		}
		return copied
	case []any:
		copied := make([]any, len(v))
		for i, item := range v {
			copied[i] = clone(item)
		}
		return copied
	case time.Time:
		return v.UTC().Truncate(time.Millisecond) // as the database keeps it
	default:
		return v
	}
}
