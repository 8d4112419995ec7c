package simulator

import (
	"context"
	"sync"
	"time"
)

// Effect is one thing the world would have noticed. Nothing in it is masked: it exists to be compared.
type Effect struct {
	Provider  string    `json:"provider"`            // stripe, sendgrid or twilio
	Kind      string    `json:"kind"`                // charge, email or sms
	ID        string    `json:"id"`                  // PaymentIntent id, X-Message-Id or message SID
	OutboxID  string    `json:"outbox_id,omitempty"` // empty if the request carried none; likewise the next two
	OutboxNS  string    `json:"outbox_ns,omitempty"`
	OutboxKey string    `json:"outbox_key,omitempty"`
	At        time.Time `json:"at"`               // by the simulated clock
	Status    string    `json:"status,omitempty"` // the PaymentIntent's or the message's first status

	Amount   int64  `json:"amount,omitempty"` // minor units
	Currency string `json:"currency,omitempty"`
	Customer string `json:"customer,omitempty"`
	Account  string `json:"account,omitempty"` // Stripe-Account header or Twilio account
	Key      string `json:"key,omitempty"`     // Idempotency-Key of the request that had the effect

	To      string `json:"to,omitempty"`
	From    string `json:"from,omitempty"` // sender, or the SID of the Messaging Service
	Subject string `json:"subject,omitempty"`
	Body    string `json:"body,omitempty"` // text of the message
}

// effectLog is the append-only list of effects.
type effectLog struct {
	mu  sync.Mutex
	all []Effect
}

func (l *effectLog) add(e Effect) {
	l.mu.Lock()
	l.all = append(l.all, e)
	l.mu.Unlock()
}

func (l *effectLog) reset() {
	l.mu.Lock()
	l.all = nil
	l.mu.Unlock()
}

// snapshot needs no copy: entries are never changed, and a later append never touches what the slice shows.
func (l *effectLog) snapshot() []Effect {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all[:len(l.all):len(l.all)]
}

// Effects is every effect so far, in the order in which they happened.
func (s *Sim) Effects() []Effect { return append([]Effect(nil), s.effects.snapshot()...) }

// WaitEffects returns nil once the provider (any, if empty) has had n effects; else the context's error, or
// [ErrClosed].
func (s *Sim) WaitEffects(ctx context.Context, provider string, n int) error {
	return s.bell.wait(ctx, s.done, func() bool {
		got := 0
		for _, e := range s.effects.snapshot() {
			if provider == "" || e.Provider == provider {
				got++
			}
		}
		return got >= n
	})
}

func (s *Sim) happened(e Effect) {
	s.effects.add(e)
	s.bell.ring()
}
