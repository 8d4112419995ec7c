package schedules

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/outboxd/outboxd/dispatcher"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers"
	"github.com/outboxd/outboxd/providers/sendgrid"
	"github.com/outboxd/outboxd/providers/stripe"
	"github.com/outboxd/outboxd/providers/twilio"
)

var (
	errGone = errors.New("the machine is dead")
	errAway = errors.New("the database is away")
)

// machine is one worker process. It is its dispatcher's store and network.
type machine struct {
	w    *world
	name string
	life life

	stop, abort       context.Context
	endStop, endAbort context.CancelFunc

	mu    sync.Mutex
	ops   int
	dials int
	dead  bool
}

func machineName(slot, n int) string { return string(rune('A'+slot)) + strconv.Itoa(n+1) }

func newMachine(w *world, name string, l life) *machine {
	m := &machine{w: w, name: name, life: l}
	m.stop, m.endStop = context.WithCancel(context.Background())
	m.abort, m.endAbort = context.WithCancel(context.Background())
	return m
}

// run is the whole life of the process. It returns when nothing of it is left.
func (m *machine) run() error {
	defer m.endAbort()
	transport := providers.NewTransport(providers.TransportConfig{Dial: m.dial})
	defer transport.CloseIdleConnections()
	lanes, err := m.lanes(transport)
	if err != nil {
		return err
	}
	d, err := dispatcher.New(dispatcher.Config{Worker: m.name, Store: m, Lanes: lanes, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	m.w.story.add(m.name, "starts", nil)
	err = d.Run(m.stop, m.abort) // what a machine could not settle is the next one's
	m.w.story.add(m.name, "is gone", err)
	return nil
}

func (m *machine) lanes(transport *providers.Transport) ([]dispatcher.Lane, error) {
	var list []dispatcher.Lane
	for kind, lane := range m.w.plan.lanes {
		var err error
		switch kind {
		case outbox.KindCharge:
			lane.Provider, err = stripe.New(stripe.Config{APIKey: "sk_test_1", URL: "http://stripe.test", Transport: transport})
		case outbox.KindEmail:
			lane.Provider, err = sendgrid.New(sendgrid.Config{APIKey: "SG.1", URL: "http://sendgrid.test", Transport: transport})
		default:
			lane.Provider, err = twilio.New(twilio.Config{
				AccountSID: "AC0123456789abcdef0123456789abcdef", AuthToken: "token", URL: "http://twilio.test",
				CallbackBase: "http://callbacks.test/twilio", Transport: transport,
			})
		}
		if err != nil {
			return nil, fmt.Errorf("build the lane %s: %w", kind, err)
		}
		list = append(list, lane)
	}
	return list, nil
}

func (m *machine) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	m.mu.Lock()
	m.dials++
	refused := m.dead || slices.Contains(m.life.refused, m.dials)
	m.mu.Unlock()
	if refused {
		m.w.story.add(m.name, "dial", errRefused)
		m.w.count(func(h *happened) { h.refusedDials++ })
		return nil, errRefused
	}
	return m.w.wire.dial(ctx, m)
}

// begin counts an operation and returns what befalls the machine at it; false: it is dead.
func (m *machine) begin() (*incident, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return nil, false
	}
	m.ops++
	for n := range m.life.incidents {
		if m.life.incidents[n].at == m.ops {
			return &m.life.incidents[n], true
		}
	}
	return nil, true
}

// befalls carries out an incident and returns the error that the operation ends with.
func (m *machine) befalls(i *incident) error {
	m.w.story.add(m.name, i.what, nil)
	switch i.what {
	case dies:
		m.die()
		return errGone
	case stops:
		m.w.count(func(h *happened) { h.ended[m.name] = true })
		m.endStop()
		context.AfterFunc(m.w.after(i.lasts), m.endAbort)
		return nil
	case stalls:
		began := time.Now()
		m.w.count(func(h *happened) { h.stalls = append(h.stalls, span{m.name, began, began.Add(i.lasts)}) })
		time.Sleep(i.lasts)
		return nil
	default:
		m.w.goAway(i.lasts)
		return errAway
	}
}

func (m *machine) die() {
	m.mu.Lock()
	m.dead = true
	m.mu.Unlock()
	m.w.count(func(h *happened) { h.ended[m.name] = true })
	m.endStop()
	m.endAbort()
}

// reach is nil while the machine can reach the database.
func (m *machine) reach() error {
	m.mu.Lock()
	dead := m.dead
	m.mu.Unlock()
	switch {
	case dead:
		return errGone
	case m.w.isAway():
		return errAway
	default:
		return nil
	}
}

// do carries out one operation on the database, with what befalls the machine at it. While an operation stalls, its
// context may end: the operation has left by then, and takes place all the same.
func (m *machine) do(ctx context.Context, op func(context.Context) error) error {
	if err := m.reach(); err != nil {
		return err
	}
	i, ok := m.begin()
	if !ok {
		return errGone
	}
	if i == nil {
		return op(ctx)
	}
	if !i.after {
		if err := m.befalls(i); err != nil {
			return err
		}
		if err := m.reach(); err != nil {
			return err
		}
		return op(context.WithoutCancel(ctx))
	}
	if err := op(ctx); err != nil {
		return err
	}
	return m.befalls(i)
}

// Claim implements dispatcher.Store. A claim that finds nothing is no operation worth an incident.
func (m *machine) Claim(ctx context.Context, order outbox.ClaimOrder) ([]*outbox.Intent, error) {
	return m.claim(ctx, order, m.w.store.Claim)
}

// ClaimToSettle implements dispatcher.Store.
func (m *machine) ClaimToSettle(ctx context.Context, order outbox.ClaimOrder) ([]*outbox.Intent, error) {
	return m.claim(ctx, order, m.w.store.ClaimToSettle)
}

func (m *machine) claim(ctx context.Context, order outbox.ClaimOrder, take func(context.Context, outbox.ClaimOrder) ([]*outbox.Intent, error)) ([]*outbox.Intent, error) {
	if err := m.reach(); err != nil {
		return nil, err
	}
	list, err := take(ctx, order)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	m.w.story.add(m.name, "claims", nil, claim(list))
	m.w.claimed(m, list, order.Lease)
	i, ok := m.begin()
	if !ok {
		return nil, errGone
	}
	if i != nil {
		if err := m.befalls(i); err != nil {
			m.w.unclear(list)
			return nil, err
		}
	}
	return list, nil
}

// Settle implements dispatcher.Store.
func (m *machine) Settle(ctx context.Context, batch []outbox.Settlement) (answers []outbox.Settled, err error) {
	applied := false
	err = m.do(ctx, func(ctx context.Context) error {
		applied = true
		answers, err = m.w.store.Settle(ctx, batch)
		return err
	})
	for n, s := range batch {
		lost := ""
		if applied && n < len(answers) && answers[n].Lost {
			lost = "(lease lost)"
		} else if !applied {
			lost = "(not written)"
		}
		m.w.story.add(m.name, "settles", err, settlement(s), lost)
	}
	if applied {
		m.w.poke()
	}
	if err != nil {
		return nil, err
	}
	return answers, nil
}

// SaveProgress implements dispatcher.Store.
func (m *machine) SaveProgress(ctx context.Context, in *outbox.Intent, p outbox.Progress) error {
	err := m.do(ctx, func(ctx context.Context) error {
		lease, _ := m.w.store.Get(in.ID)["lease"].(map[string]any)
		err := m.w.store.SaveProgress(ctx, in, p)
		if err == nil && lease["token"] != in.Lease.Token {
			m.w.wrong(m.name + " saved progress of " + in.ID.String() + " under a lease that it had lost")
		}
		return err
	})
	m.w.story.add(m.name, "saves progress of "+in.ID.String(), err)
	if err != nil {
		m.w.count(func(h *happened) { h.unsaved[in.ID.String()]++ })
	}
	return err
}

// Now implements dispatcher.Store.
func (m *machine) Now() time.Time { return m.w.store.Now() }
