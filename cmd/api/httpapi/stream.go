package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/outboxd/outboxd/cmd/api/payments"
)

const (
	streamLife   = 10 * time.Minute // then the client connects again, as EventSource does by itself
	streamPulse  = 15 * time.Second // between two signs of life, which proxies want to see
	streamWrite  = 5 * time.Second  // for the client to take what is written
	streamReturn = 2000             // milliseconds after which a client that lost the stream comes back
)

// patience gives a request that waits more time than others have.
func (x *exchange) patience(d time.Duration) {
	c := http.NewResponseController(x)
	// Where the writer has no deadlines there are none to extend. A read deadline that passes would end the request.
	_ = c.SetReadDeadline(time.Time{})
	_ = c.SetWriteDeadline(time.Now().Add(d + writeTimeout))
}

// events streams what becomes of a payment.
func (a *API) events(ctx context.Context, in *eventsInput) (*huma.StreamResponse, error) {
	x := exchangeOf(ctx)
	if err := a.work(x); err != nil {
		return nil, err
	}
	p, err := a.cfg.Payments.Find(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	x.payment = p.ID
	release, err := a.wait(x)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(huma.Context) {
		defer release()
		x.Header().Set("Content-Type", "text/event-stream")
		x.Header().Set("X-Accel-Buffering", "no") // nginx would keep events back
		x.WriteHeader(http.StatusOK)
		if x.r.Method == http.MethodHead {
			return
		}
		x.patience(streamLife)
		a.stream(ctx, x, p)
	}}, nil
}

func (a *API) stream(ctx context.Context, x *exchange, p *payments.Payment) {
	ctx, cancel := context.WithTimeout(ctx, streamLife)
	defer cancel()
	stop := context.AfterFunc(a.stopping, cancel)
	defer stop()
	changed, leave := a.cfg.Payments.Watch(p)
	defer leave()
	pulse := time.NewTicker(streamPulse)
	defer pulse.Stop()
	if !x.send(fmt.Appendf(nil, "retry: %d\n\n", streamReturn)) || !x.sendPayment(p) {
		return
	}
	for !a.settled(p) {
		select {
		case p = <-changed:
			if !x.sendPayment(p) {
				return
			}
		case <-pulse.C:
			if !x.send([]byte(": still here\n\n")) {
				return
			}
		case <-ctx.Done():
			return // the client comes back if it is still there
		}
	}
	x.send([]byte("event: end\ndata: {}\n\n"))
}

// settled reports whether nothing more is expected: the payment is final, and so is every message about it, as far as
// webhooks would tell.
func (a *API) settled(p *payments.Payment) bool {
	v := p.View()
	if !v.State.Final() {
		return false
	}
	if v.State == payments.StateFailed && len(v.Messages) == 0 && p.Email != "" {
		return false // its message is on its way
	}
	for _, m := range v.Messages {
		reported := m.Channel == "email" && a.cfg.Webhooks.SendGrid != nil || m.Channel == "sms" && a.cfg.Webhooks.TwilioToken != ""
		if m.State == "pending" || m.State == "sent" && reported {
			return false
		}
	}
	return true
}

func (x *exchange) sendPayment(p *payments.Payment) bool {
	data, err := json.Marshal(p.View())
	if err != nil {
		panic("httpapi: encode a payment: " + err.Error()) // a view can be encoded
	}
	return x.send(bytes.Join([][]byte{[]byte("event: payment\ndata: "), data, []byte("\n\n")}, nil))
}

// send writes an event, and reports whether the client is still there.
func (x *exchange) send(event []byte) bool {
	c := http.NewResponseController(x)
	_ = c.SetWriteDeadline(time.Now().Add(streamWrite)) // where the writer has no deadlines, the write has none
	if _, err := x.Write(event); err != nil {
		return false
	}
	return c.Flush() == nil
}
