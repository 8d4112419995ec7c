package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"
)

// simulators switches simulated providers off and on, for the shop. Off is a fault of the simulator's: 503, without
// end.
type simulators struct {
	url    *url.URL
	http   *http.Client
	origin *http.CrossOriginProtection

	mu sync.Mutex // the faults are read and written in two steps
}

const (
	simulatorTimeout = 2 * time.Second
	maxSimulator     = 1 << 20 // bytes of the simulator's answers, and of what the shop posts
)

// simulated are the providers in the order in which the shop shows them.
var simulated = []string{"stripe", "sendgrid", "twilio"}

func newSimulators(control *url.URL) *simulators {
	return &simulators{url: control, http: &http.Client{Timeout: simulatorTimeout, Transport: &http.Transport{DisableKeepAlives: true}},
		origin: http.NewCrossOriginProtection()}
}

// fault is what is read and written of a simulator's fault.
type fault struct {
	Provider string          `json:"provider,omitempty"`
	Route    string          `json:"route,omitempty"`
	Do       string          `json:"do"`
	Status   int             `json:"status,omitempty"`
	Match    json.RawMessage `json:"match,omitempty"`
}

// off reports whether the fault stands for a provider that is switched off.
func (f fault) off() bool {
	return f.Do == "status" && f.Status == http.StatusServiceUnavailable && f.Route == "" && slices.Contains(simulated, f.Provider)
}

// scripted is a fault as the simulator lists it.
type scripted struct {
	Fault json.RawMessage `json:"fault"`
	Left  int             `json:"left"`
}

// provider is one line of the shop's switches.
type provider struct {
	Name string `json:"name"`
	Off  bool   `json:"off"`
}

func (s *simulators) show(_ http.ResponseWriter, r *http.Request) {
	x := exchangeOf(r.Context())
	s.mu.Lock()
	defer s.mu.Unlock()
	_, off, err := s.faults(r.Context())
	if err != nil {
		x.refuse(unreachable(err))
		return
	}
	x.answerProviders(off)
}

func (x *exchange) answerProviders(off map[string]bool) {
	list := make([]provider, 0, len(simulated))
	for _, name := range simulated {
		list = append(list, provider{name, off[name]})
	}
	x.write(http.StatusOK, jsonType, map[string][]provider{"providers": list})
}

// change switches one provider. The simulator can only forget all of its faults, so the others are written again.
func (s *simulators) change(_ http.ResponseWriter, r *http.Request) {
	x := exchangeOf(r.Context())
	if err := s.origin.Check(r); err != nil {
		x.refuse(transport(http.StatusForbidden, "another site's page may not switch providers"))
		return
	}
	var want provider
	body, err := x.body(maxBody)
	if err == nil {
		err = x.contentType(jsonType)
	}
	if err != nil {
		x.refuse(err)
		return
	}
	if json.Unmarshal(body, &want) != nil || !slices.Contains(simulated, want.Name) {
		x.refuse(transport(http.StatusBadRequest, "the body must be {\"name\": one of %v, \"off\": true or false}", simulated))
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	off, err := s.set(r.Context(), want)
	if err != nil {
		x.refuse(unreachable(err))
		return
	}
	x.answerProviders(off)
}

// set makes a provider's state what is wanted.
func (s *simulators) set(ctx context.Context, want provider) (off map[string]bool, err error) {
	others, off, err := s.faults(ctx)
	if err != nil {
		return nil, err
	}
	off[want.Name] = want.Off
	keep := []any{}
	for _, f := range others {
		keep = append(keep, f)
	}
	for _, name := range simulated {
		if off[name] {
			keep = append(keep, fault{Provider: name, Do: "status", Status: http.StatusServiceUnavailable, Match: json.RawMessage(`{"times":-1}`)})
		}
	}
	if err := s.ask(ctx, http.MethodDelete, nil, nil); err != nil {
		return nil, err
	}
	if len(keep) == 0 {
		return off, nil
	}
	return off, s.ask(ctx, http.MethodPost, keep, nil)
}

// faults returns what the simulator has scripted: which providers are off, and everything else as it stands.
func (s *simulators) faults(ctx context.Context) (others []json.RawMessage, off map[string]bool, err error) {
	var all []scripted
	if err := s.ask(ctx, http.MethodGet, nil, &all); err != nil {
		return nil, nil, err
	}
	off = make(map[string]bool)
	for _, one := range all {
		var f fault
		switch {
		case json.Unmarshal(one.Fault, &f) != nil:
			return nil, nil, errors.New("the simulator lists a fault that cannot be read")
		case f.off():
			off[f.Provider] = true
		case one.Left != 0:
			others = append(others, one.Fault)
		}
	}
	return others, off, nil
}

// ask sends one request about faults.
func (s *simulators) ask(ctx context.Context, method string, send, receive any) error {
	data, err := json.Marshal(send)
	if err != nil {
		return fmt.Errorf("ask the simulator: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, method, s.url.JoinPath("/_sim/faults").String(), bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("ask the simulator: %w", err)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return fmt.Errorf("ask the simulator: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxSimulator))
	switch {
	case err != nil:
		return fmt.Errorf("read the simulator's answer: %w", err)
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("the simulator answered %d to %s", resp.StatusCode, method)
	case receive == nil:
		return nil
	}
	if err := json.Unmarshal(answer, receive); err != nil {
		return fmt.Errorf("read the simulator's answer: %w", err)
	}
	return nil
}

func unreachable(err error) error {
	return transport(http.StatusServiceUnavailable, "the simulator does not answer as it should").after(time.Second).because(err)
}
