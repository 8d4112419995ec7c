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
)

const (
	readyEvery   = 2 * time.Second // how often the database is asked whether the worker could work
	readyTimeout = 2 * time.Second // of one such question
)

// readiness is whether the worker can work, and if not, why. It is safe for concurrent use.
type readiness struct {
	mu       sync.Mutex
	asked    bool
	reasons  []string
	claims   map[string]bool // kinds whose last claim failed
	stopping bool
}

func newReadiness() *readiness { return &readiness{claims: make(map[string]bool)} }

// run asks again and again, until ctx ends, whether MongoDB has a primary that answers and whether the schema fits.
func (r *readiness) run(ctx context.Context, database, schema func(context.Context) error) {
	tick := time.NewTicker(readyEvery)
	defer tick.Stop()
	for {
		r.ask(ctx, database, schema)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (r *readiness) ask(ctx context.Context, database, schema func(context.Context) error) {
	within, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	var reasons []string
	if err := database(within); err != nil {
		reasons = append(reasons, fmt.Sprintf("MongoDB has no primary that answers within %v", readyTimeout))
	} else if err := schema(within); err != nil {
		reasons = append(reasons, err.Error())
	}
	if ctx.Err() != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked, r.reasons = true, reasons
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

func (r *readiness) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopping = true
}

// why returns the reasons why the worker cannot work; none if it can.
func (r *readiness) why() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	reasons := slices.Clone(r.reasons)
	if !r.asked {
		reasons = append(reasons, "MongoDB was not asked yet")
	}
	for _, kind := range slices.Sorted(maps.Keys(r.claims)) {
		reasons = append(reasons, "the last claim of kind "+kind+" failed")
	}
	if r.stopping {
		reasons = append(reasons, "the worker is stopping")
	}
	return reasons
}

// ServeHTTP answers /readyz.
func (r *readiness) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	reasons := r.why()
	status := http.StatusOK
	if len(reasons) > 0 {
		status = http.StatusServiceUnavailable
	}
	body, err := json.Marshal(struct {
		Ready   bool     `json:"ready"`
		Reasons []string `json:"reasons,omitempty"`
	}{len(reasons) == 0, reasons})
	if err != nil { // strings and a bool can always be encoded
		panic(err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // a client that left does not want it
}
