package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/outboxd/outboxd/dispatcher"
)

const (
	readyAge     = 2 * time.Second // how long an answer is good
	readyTimeout = 2 * time.Second // of one such question
)

// readiness is whether the worker can work, and if not, why. The database is asked when somebody wants to know, and not
// otherwise: an idle worker has no questions. It is safe for concurrent use.
type readiness struct {
	asking  sync.Mutex // held while the database is asked
	askedAt time.Time  // these two are guarded by asking
	found   []string

	mu                      sync.Mutex
	database, schema, lease func(context.Context) error // nil: the worker has not come so far
	claims                  map[string]bool             // kinds whose last claim failed
	stopping                bool
	providers               map[string]string              // what each served provider answered to its harmless question at start
	lanes                   func() []dispatcher.LaneStatus // nil: there are none yet
}

func newReadiness() *readiness {
	return &readiness{claims: make(map[string]bool), providers: make(map[string]string)}
}

// begin tells how to ask whether MongoDB has a primary that answers, whether the schema fits, and whether a lease
// could be taken.
func (r *readiness) begin(database, schema, lease func(context.Context) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.database, r.schema, r.lease = database, schema, lease
}

// ask returns what the database says against working; an answer is good for a moment.
func (r *readiness) ask(ctx context.Context) []string {
	r.mu.Lock()
	database, schema, lease := r.database, r.schema, r.lease
	r.mu.Unlock()
	if database == nil {
		return []string{"MongoDB was not asked yet"}
	}
	r.asking.Lock()
	defer r.asking.Unlock()
	if !r.askedAt.IsZero() && time.Since(r.askedAt) < readyAge {
		return r.found
	}
	// The answer is for others as well, so that a client which left must not spoil it.
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyTimeout)
	defer cancel()
	r.found = nil
	if err := database(within); err != nil {
		r.found = []string{fmt.Sprintf("MongoDB has no primary that answers within %v", readyTimeout)}
	} else if err := schema(within); err != nil {
		r.found = []string{err.Error()}
	} else if err := lease(within); within.Err() != nil {
		r.found = []string{fmt.Sprintf("no majority of MongoDB's members took a write within %v", readyTimeout)}
	} else if err != nil {
		r.found = []string{"the worker may not claim: " + err.Error()}
	}
	r.askedAt = time.Now()
	return r.found
}

// claimed is told how the last claim of a kind went.
func (r *readiness) claimed(kind string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.claims[kind] = true
	} else {
		delete(r.claims, kind)
	}
}

// asked is told what a provider answered. It is a detail, and nothing against being ready.
func (r *readiness) asked(provider, answer string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.providers[provider] = answer
}

// show adds the state of the lanes to the details. A stopped lane is nothing against being ready: no other worker would
// do better.
func (r *readiness) show(lanes func() []dispatcher.LaneStatus) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lanes = lanes
}

// stopped returns the lanes that are not open, each with its state and why.
func (r *readiness) stopped() map[string]string {
	r.mu.Lock()
	lanes := r.lanes
	r.mu.Unlock()
	if lanes == nil {
		return nil
	}
	states := make(map[string]string)
	for _, l := range lanes() {
		if l.State == dispatcher.StateOpen {
			continue
		}
		states[l.Kind] = l.State
		if l.Why != "" {
			states[l.Kind] += ": " + l.Why
		}
	}
	return states
}

func (r *readiness) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopping = true
}

// why returns the reasons why the worker cannot work; none if it can.
func (r *readiness) why(ctx context.Context) []string {
	reasons := slices.Clone(r.ask(ctx))
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, kind := range slices.Sorted(maps.Keys(r.claims)) {
		reasons = append(reasons, "the last claim of kind "+kind+" failed")
	}
	if r.stopping {
		reasons = append(reasons, "the worker is stopping")
	}
	return reasons
}

// ServeHTTP answers /readyz.
func (r *readiness) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	reasons := r.why(req.Context())
	status := http.StatusOK
	if len(reasons) > 0 {
		status = http.StatusServiceUnavailable
	}
	lanes := r.stopped()
	r.mu.Lock()
	body, err := json.Marshal(struct {
		Ready     bool              `json:"ready"`
		Reasons   []string          `json:"reasons,omitempty"`
		Lanes     map[string]string `json:"lanes,omitempty"` // those that are not open
		Providers map[string]string `json:"providers,omitempty"`
	}{len(reasons) == 0, reasons, lanes, r.providers})
	r.mu.Unlock()
	if err != nil { // strings and a bool can always be encoded
		panic(err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // a client that left does not want it
}
