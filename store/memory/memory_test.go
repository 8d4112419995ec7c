package memory_test

import (
	"sync/atomic"
	"testing"

	"github.com/outboxd/outboxd/store/memory"
	"github.com/outboxd/outboxd/store/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		h := &harness{t: t}
		h.store = memory.New(memory.Options{Rules: storetest.Rules(), Retention: storetest.Retention, Refuse: h.refuse})
		return h
	})
}

// harness gives the suite a hand in the store's documents.
type harness struct {
	t       *testing.T
	store   *memory.Store
	refused atomic.Value // string
}

func (h *harness) refuse(doc map[string]any) string {
	if doc["kind"] == h.refused.Load() {
		return "its kind is refused"
	}
	return ""
}

func (h *harness) Store() storetest.Store { return h.store }

func (h *harness) Insert(doc map[string]any) {
	h.t.Helper()
	if err := h.store.Insert(doc); err != nil {
		h.t.Fatal(err)
	}
}

func (h *harness) Get(id any) map[string]any { return h.store.Get(id) }

func (h *harness) All() []map[string]any { return h.store.All() }

func (h *harness) Change(id any, fields map[string]any) {
	h.t.Helper()
	if !h.store.Change(id, fields) {
		h.t.Fatalf("there is no intent %v", id)
	}
}

func (h *harness) InsertBusiness(collection string, doc map[string]any) {
	h.store.InsertBusiness(collection, doc)
}

func (h *harness) Business(collection string, id any) map[string]any {
	return h.store.Business(collection, id)
}

func (h *harness) Hold(collection string, id any) (release func()) {
	return h.store.Hold(collection, id)
}

func (h *harness) HoldIntent(id any) (release func()) { return h.store.HoldIntent(id) }

func (h *harness) RefuseKind(kind string) { h.refused.Store(kind) }
