package simulator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

const (
	controlPrefix = "/_sim/"
	controlLimit  = 1 << 20 // bytes of a control request
	waitLimit     = 10 * time.Minute
)

func (s *Sim) newControl() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, fn func(*http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if !s.enter() {
				http.Error(w, "the simulator is closed", http.StatusServiceUnavailable)
				return
			}
			defer s.calls.Done()
			r.Body = http.MaxBytesReader(w, r.Body, controlLimit)
			v, err := fn(r)
			status := http.StatusOK
			if err != nil {
				status = http.StatusBadRequest
				v = map[string]string{"error": err.Error()}
			}
			rep := jsonReply(status, v)
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(rep.status)
			_, _ = w.Write(rep.body) // nothing can be said to a client that left
		})
	}
	handle("GET /_sim/healthz", func(*http.Request) (any, error) { return map[string]bool{"ok": true}, nil })
	handle("GET /_sim/requests", func(*http.Request) (any, error) { return s.Requests(), nil })
	handle("GET /_sim/wait", s.controlWait)
	handle("GET /_sim/faults", func(*http.Request) (any, error) { return s.Faults(), nil })
	handle("POST /_sim/faults", s.controlAddFaults)
	handle("DELETE /_sim/faults", func(*http.Request) (any, error) { s.ClearFaults(); return s.Faults(), nil })
	handle("GET /_sim/clock", func(*http.Request) (any, error) { return s.clockState(), nil })
	handle("POST /_sim/clock", s.controlClock)
	handle("GET /_sim/settings", func(*http.Request) (any, error) { return &s.settings, nil })
	handle("POST /_sim/settings", s.controlSettings)
	handle("POST /_sim/reset", func(*http.Request) (any, error) { s.Reset(); return map[string]bool{"ok": true}, nil })
	mux.HandleFunc("GET /_sim/effects", s.controlEffects)
	return mux
}

// controlEffects writes the effects one by one, so that a million of them need no second copy in memory.
func (s *Sim) controlEffects(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	lines := q.Get("format") == "lines"
	open, comma, end := "[", ",\n", "]\n"
	w.Header().Set("Content-Type", "application/json")
	if lines {
		open, comma, end = "", "", ""
		w.Header().Set("Content-Type", "application/x-ndjson")
	}
	_, _ = io.WriteString(w, open) // a client that left is noticed below
	first := true
	for _, e := range s.effects.snapshot() {
		if (q.Has("provider") && q.Get("provider") != e.Provider) || (q.Has("outbox_id") && q.Get("outbox_id") != e.OutboxID) ||
			(q.Has("outbox_ns") && q.Get("outbox_ns") != e.OutboxNS) {
			continue
		}
		line := bytes.TrimSuffix(jsonReply(0, e).body, []byte("\n"))
		switch {
		case lines:
			line = append(line, '\n')
		case !first:
			line = append([]byte(comma), line...)
		}
		first = false
		if _, err := w.Write(line); err != nil {
			return
		}
	}
	_, _ = io.WriteString(w, end)
}

func (s *Sim) controlWait(r *http.Request) (any, error) {
	q := r.URL.Query()
	timeout := 30 * time.Second
	if q.Has("timeout") {
		d, err := time.ParseDuration(q.Get("timeout"))
		if err != nil || d <= 0 || d > waitLimit {
			return nil, fmt.Errorf("timeout: want a duration up to %s", waitLimit)
		}
		timeout = d
	}
	count := func(name string) (int, error) {
		if !q.Has(name) {
			return 0, nil
		}
		n, err := strconv.Atoi(q.Get(name))
		if err != nil || n < 1 {
			return 0, fmt.Errorf("%s: want a number from 1 on", name)
		}
		return n, nil
	}
	requests, err1 := count("requests")
	effects, err2 := count("effects")
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	if requests == 0 && effects == 0 {
		return nil, errors.New("say what to wait for: requests=N or effects=N")
	}
	ctx, cancel := context.WithTimeoutCause(r.Context(), timeout, fmt.Errorf("it did not happen within %s", timeout))
	defer cancel()
	if err := s.WaitRequests(ctx, q.Get("provider"), q.Get("route"), requests); err != nil {
		return nil, fmt.Errorf("wait for %d requests: %w", requests, err)
	}
	if err := s.WaitEffects(ctx, q.Get("provider"), effects); err != nil {
		return nil, fmt.Errorf("wait for %d effects: %w", effects, err)
	}
	return map[string]bool{"ok": true}, nil
}

func (s *Sim) controlAddFaults(r *http.Request) (any, error) {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, fmt.Errorf("read the faults: %w", err)
	}
	var faults []Fault
	if trimmed := bytes.TrimSpace(data); len(trimmed) > 0 && trimmed[0] == '[' {
		err = strictJSON(data, &faults)
	} else {
		faults = make([]Fault, 1)
		err = strictJSON(data, &faults[0])
	}
	if err != nil {
		return nil, fmt.Errorf("read the faults: %w", err)
	}
	if err := s.AddFaults(faults...); err != nil {
		return nil, err
	}
	return s.Faults(), nil
}

func (s *Sim) clockState() map[string]string {
	return map[string]string{
		"now":    s.Now().UTC().Format(time.RFC3339Nano),
		"offset": time.Duration(s.clock.offset.Load()).String(),
	}
}

func (s *Sim) controlClock(r *http.Request) (any, error) {
	var in struct {
		Advance string `json:"advance"`
	}
	if err := readStrict(r.Body, &in); err != nil {
		return nil, fmt.Errorf("read the clock's change: %w", err)
	}
	d, err := time.ParseDuration(in.Advance)
	if err != nil || d < 0 {
		return nil, errors.New("advance: want a duration like \"25h\", not negative")
	}
	s.Advance(d)
	return s.clockState(), nil
}

func (s *Sim) controlSettings(r *http.Request) (any, error) {
	var in map[string]string
	if err := readStrict(r.Body, &in); err != nil {
		return nil, fmt.Errorf("read the settings: %w", err)
	}
	if err := s.settings.update(in); err != nil {
		return nil, err
	}
	return &s.settings, nil
}

func readStrict(r io.Reader, v any) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	return strictJSON(data, v)
}

// strictJSON refuses unknown fields: a typing error in a script must not turn into a fault that never fires.
func strictJSON(data []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if dec.More() {
		return errors.New("there is more than one JSON value")
	}
	return nil
}
