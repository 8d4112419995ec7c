package simulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// The two moments of a fault.
const (
	Before = "before" // the provider did not act
	After  = "after"  // the provider acted, and its answer is lost or changed
)

// What a fault can do; the package comment says what each means.
const (
	DoStatus   = "status"
	DoReset    = "reset"
	DoDrop     = "drop"
	DoHang     = "hang"
	DoTruncate = "truncate"
	DoHTML     = "html"
	DoDelay    = "delay"
	DoRedirect = "redirect"
	DoGarbage  = "garbage"
	DoEmpty    = "empty"
	DoFlood    = "flood"
)

var deeds = []string{DoStatus, DoReset, DoDrop, DoHang, DoTruncate, DoHTML, DoDelay, DoRedirect, DoGarbage, DoEmpty, DoFlood}

// routes are the names by which faults and request counts know a provider's requests.
var routes = map[string][]string{
	ProviderStripe:   {"create", "confirm", "cancel", "retrieve", "list", "search", "account", "balance", routeUnknown},
	ProviderSendGrid: {"send", "logs", "log", "scopes", routeUnknown},
	ProviderTwilio:   {"send", "list", "fetch", "account", routeUnknown},
}

// questions are the routes of the harmless question that a worker asks when it starts. A fault for no route in
// particular is meant for deliveries and look-ups, and would be used up by them.
var questions = []string{"account", "balance", "scopes"}

// routeUnknown is every path that a provider does not have.
const routeUnknown = "unknown"

// routesOf returns the routes of a provider, those of all if it is empty.
func routesOf(provider string) []string {
	if provider != "" {
		return routes[provider]
	}
	all := slices.Concat(slices.Collect(maps.Values(routes))...)
	slices.Sort(all)
	return slices.Compact(all)
}

// Fault is one scripted lie; the package comment describes the fields and their JSON.
type Fault struct {
	Provider string            `json:"provider,omitempty"`
	Route    string            `json:"route,omitempty"`
	Match    Match             `json:"match,omitzero"`
	When     string            `json:"when,omitempty"`
	Do       string            `json:"do"`
	Status   int               `json:"status,omitempty"`
	Body     string            `json:"body,omitempty"`
	Headers  map[string]string `json:"headers,omitempty"`
	Delay    time.Duration     `json:"-"` // real time; "delay" in JSON, as text
	Size     int64             `json:"size,omitempty"`
	Saved    bool              `json:"saved,omitempty"`
}

// Match says which requests a fault is for.
type Match struct {
	OutboxID    string  `json:"outbox_id,omitempty"`
	To          string  `json:"to,omitempty"`
	Key         string  `json:"key,omitempty"`
	Nth         int     `json:"nth,omitempty"`
	Times       int     `json:"times,omitempty"`
	Probability float64 `json:"probability,omitempty"`
	Seed        uint64  `json:"seed,omitempty"`
}

// FaultState is a fault with what became of it.
type FaultState struct {
	Fault   Fault `json:"fault"`
	Matched int   `json:"matched"` // requests that matched
	Fired   int   `json:"fired"`   // requests that met it
	Left    int   `json:"left"`    // how often it can still fire; -1: without end
}

type plainFault Fault // Fault without its methods

type wireFault struct {
	plainFault
	Delay string `json:"delay,omitempty"`
}

// MarshalJSON writes the delay as a duration like "250ms".
func (f Fault) MarshalJSON() ([]byte, error) {
	w := wireFault{plainFault: plainFault(f)}
	if f.Delay != 0 {
		w.Delay = f.Delay.String()
	}
	return json.Marshal(w)
}

// UnmarshalJSON reads the delay as a duration like "250ms" and refuses unknown fields.
func (f *Fault) UnmarshalJSON(data []byte) error {
	var w wireFault
	if err := strictJSON(data, &w); err != nil {
		return err
	}
	*f = Fault(w.plainFault)
	if w.Delay != "" {
		d, err := time.ParseDuration(w.Delay)
		if err != nil {
			return fmt.Errorf("delay: want a duration like \"250ms\": %w", err)
		}
		f.Delay = d
	}
	return nil
}

// complete sets the defaults and names everything that is wrong.
func (f Fault) complete() (Fault, error) {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if f.When == "" {
		f.When = Before
	}
	if f.Match.Nth == 0 {
		f.Match.Nth = 1
	}
	if f.Match.Times == 0 {
		f.Match.Times = 1
	}
	if !slices.Contains([]string{"", ProviderStripe, ProviderSendGrid, ProviderTwilio}, f.Provider) {
		wrong("provider: want stripe, sendgrid, twilio or none, not %q", f.Provider)
	}
	if known := routesOf(f.Provider); f.Route != "" && len(known) > 0 && !slices.Contains(known, f.Route) {
		wrong("route: want one of %v, not %q", known, f.Route)
	}
	if f.When != Before && f.When != After {
		wrong("when: want before or after, not %q", f.When)
	}
	if !slices.Contains(deeds, f.Do) {
		wrong("do: want one of %v, not %q", deeds, f.Do)
	}
	if f.Status != 0 && (f.Status < 200 || f.Status > 599) {
		wrong("status: want 200–599, not %d", f.Status)
	}
	if f.Do == DoStatus && f.Status == 0 {
		wrong("status: is needed where do is status")
	}
	if f.Do == DoDelay && f.Delay <= 0 {
		wrong("delay: is needed where do is delay")
	}
	if f.Do == DoFlood && f.Size <= 0 {
		wrong("size: is needed where do is flood")
	}
	if f.Delay < 0 || f.Match.Nth < 0 {
		wrong("delay and nth must not be negative")
	}
	if f.Match.Probability < 0 || f.Match.Probability > 1 {
		wrong("probability: want 0–1, not %v", f.Match.Probability)
	}
	if f.Saved && (f.Do != DoStatus || f.Provider != ProviderStripe) {
		wrong("saved: only with provider stripe and do status, since only Stripe has keys to store an answer under")
	}
	if err := errors.Join(errs...); err != nil {
		return f, fmt.Errorf("read a fault: %w", err)
	}
	return f, nil
}

// script is a fault at work.
type script struct {
	Fault
	matched, fired int
	seen           map[string]uint64 // requests of one identity so far; only with a probability
}

// faultBook is the list of scripts, in the order they were added.
type faultBook struct {
	armed   atomic.Bool // false while there is no script: then a request takes no lock here
	mu      sync.Mutex
	scripts []*script
}

// AddFaults appends to the script. Nothing is added if one of them is wrong; the error names every problem.
func (s *Sim) AddFaults(faults ...Fault) error {
	scripts := make([]*script, 0, len(faults))
	var errs []error
	for _, f := range faults {
		f, err := f.complete()
		errs = append(errs, err)
		scripts = append(scripts, &script{Fault: f})
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.scripts = append(s.faults.scripts, scripts...)
	s.faults.armed.Store(len(s.faults.scripts) > 0)
	return nil
}

// ClearFaults removes every fault; one that is being carried out goes on.
func (s *Sim) ClearFaults() { s.faults.clear() }

// Faults is the faults that can still fire.
func (s *Sim) Faults() []FaultState {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	out := make([]FaultState, 0, len(s.faults.scripts))
	for _, sc := range s.faults.scripts {
		left := -1
		if sc.Match.Times > 0 {
			left = sc.Match.Times - sc.fired
		}
		out = append(out, FaultState{Fault: sc.Fault, Matched: sc.matched, Fired: sc.fired, Left: left})
	}
	return out
}

func (b *faultBook) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.scripts = nil
	b.armed.Store(false)
}

// take is the fault this call meets, or nil; a script that has nothing left is dropped.
func (b *faultBook) take(provider string, c *call) *Fault {
	if !b.armed.Load() {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, sc := range b.scripts {
		if !sc.fits(provider, c) {
			continue
		}
		sc.matched++
		if sc.matched < sc.Match.Nth || !sc.drawn(provider, c) {
			continue
		}
		sc.fired++
		if sc.Match.Times > 0 && sc.fired >= sc.Match.Times {
			b.scripts = slices.Delete(b.scripts, i, i+1)
			b.armed.Store(len(b.scripts) > 0)
		}
		return new(sc.Fault)
	}
	return nil
}

func (sc *script) fits(provider string, c *call) bool {
	is := func(want, got string) bool { return want == "" || want == got }
	if sc.Route == "" && slices.Contains(questions, c.route) {
		return false
	}
	return is(sc.Provider, provider) && is(sc.Route, c.route) && is(sc.Match.OutboxID, c.outboxID) &&
		is(sc.Match.To, c.to) && is(sc.Match.Key, c.key)
}

// drawn decides by the seed, the request's identity and how often it came before: the order in which concurrent
// requests of different identity arrive does not matter.
func (sc *script) drawn(provider string, c *call) bool {
	if sc.Match.Probability == 0 {
		return true
	}
	identity := provider + "\x00" + c.route + "\x00" + c.outboxID + "\x00" + c.to + "\x00" + c.key
	if sc.seen == nil {
		sc.seen = map[string]uint64{}
	}
	sc.seen[identity]++
	h := fnv.New64a()
	_, _ = h.Write([]byte(identity)) // hash.Hash never returns an error
	return rand.New(rand.NewPCG(sc.Match.Seed^sc.seen[identity], h.Sum64())).Float64() < sc.Match.Probability
}
