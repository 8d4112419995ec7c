package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/Shopify/toxiproxy/v2/toxics"
	"github.com/rs/zerolog"

	"github.com/outboxd/outboxd/integration/chaos/plan"
)

// wire is a way from one worker to one server, which can be cut, slowed, reset and left half-open.
type wire struct {
	proxy *toxiproxy.Proxy
	mu    sync.Mutex
	toxic string // the one at work
}

// network makes wires.
type network struct {
	server *toxiproxy.ApiServer
	wires  []*wire
}

func newNetwork() *network {
	toxics.Register(rewriteType, new(rewrite))
	return &network{server: toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())}
}

// connect makes a wire to a server, and returns where it begins.
func (n *network) connect(name, server string) (*wire, error) {
	w := &wire{proxy: toxiproxy.NewProxy(n.server, name, "127.0.0.1:0", server)}
	if err := w.proxy.Start(); err != nil {
		return nil, fmt.Errorf("listen for a proxy: %w", err)
	}
	n.wires = append(n.wires, w)
	return w, nil
}

func (w *wire) addr() string { return w.proxy.Listen }

// close ends all wires.
func (n *network) close() {
	for _, w := range n.wires {
		w.proxy.Stop()
	}
}

// members makes wires to the members of a replica set, and returns the connection string through them.
//
// A driver learns the members' addresses from the members, so wires alone would be gone round. Giving the set the
// wires' addresses would cut its members off from each other together with the worker. So each wire replaces the
// members' addresses in what the servers say by those of the wires of the same worker; both have the same length.
func (n *network) members(name string, addrs []string, set string) ([]*wire, string, error) {
	wires, through := make([]*wire, len(addrs)), make([]string, len(addrs))
	for i, addr := range addrs {
		w, err := n.connect(fmt.Sprintf("%s member %d", name, i), addr)
		if err != nil {
			return nil, "", err
		}
		wires[i], through[i] = w, w.addr()
		if len(w.addr()) != len(addr) {
			return nil, "", errors.New("a proxy's address is not as long as a member's; both need ports of five digits")
		}
	}
	for _, w := range wires {
		if err := w.add(toxic{Name: rewriteType, Type: rewriteType, Stream: "downstream", Toxicity: 1, Attributes: rewrite{addrs, through}}); err != nil {
			return nil, "", err
		}
	}
	return wires, "mongodb://" + strings.Join(through, ",") + "/?replicaSet=" + set, nil
}

// provider makes a wire to a provider's base URL, and returns the URL through it.
func (n *network) provider(name, base string) (*wire, string, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, "", fmt.Errorf("read a provider's URL: %w", err)
	}
	if _, _, err := net.SplitHostPort(u.Host); err != nil {
		return nil, "", fmt.Errorf("read a provider's URL: %w", err)
	}
	w, err := n.connect(name, u.Host)
	if err != nil {
		return nil, "", err
	}
	return w, "http://" + w.addr(), nil
}

// toxic is what toxiproxy calls a fault, as it reads it.
type toxic struct {
	Name       string  `json:"name"`
	Type       string  `json:"type"`
	Stream     string  `json:"stream"`
	Toxicity   float32 `json:"toxicity"`
	Attributes any     `json:"attributes"`
}

func (w *wire) add(t toxic) error {
	text, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("describe a network fault: %w", err)
	}
	if _, err := w.proxy.Toxics.AddToxicJson(strings.NewReader(string(text))); err != nil {
		return fmt.Errorf("begin a network fault: %w", err)
	}
	return nil
}

// errBusy is returned where a wire has a fault already, of an event that lasted longer than planned.
var errBusy = errors.New("the wire has a fault already")

// fail begins a fault; mend ends it.
func (w *wire) fail(e plan.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.toxic != "" {
		return errBusy
	}
	t := toxic{Name: "fault", Stream: "downstream", Toxicity: 1}
	if e.Up {
		t.Stream = "upstream"
	}
	switch e.What {
	case plan.Cut:
		w.proxy.Stop()
		w.toxic = plan.Cut
		return nil
	case plan.Slow:
		t.Type, t.Attributes = "latency", map[string]int64{"latency": e.Late.Milliseconds(), "jitter": e.Late.Milliseconds() / 20}
	case plan.Reset:
		t.Type, t.Toxicity, t.Attributes = "reset_peer", 0.5, map[string]int64{"timeout": 5}
	case plan.HalfOpen:
		t.Type, t.Attributes = "timeout", map[string]int64{"timeout": 0}
	default:
		return fmt.Errorf("there is no network fault %q", e.What)
	}
	w.toxic = e.What
	return w.add(t)
}

func (w *wire) mend(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	was := w.toxic
	w.toxic = ""
	switch was {
	case "":
		return nil
	case plan.Cut:
		if err := w.proxy.Start(); err != nil {
			return fmt.Errorf("end a network fault: %w", err)
		}
		return nil
	default:
		if err := w.proxy.Toxics.RemoveToxic(ctx, "fault"); err != nil {
			return fmt.Errorf("end a network fault: %w", err)
		}
		return nil
	}
}
