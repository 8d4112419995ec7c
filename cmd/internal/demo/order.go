package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	orderAgain = 500 * time.Millisecond // after an order that was not taken, or got no answer
	maxAnswer  = 64 << 10               // bytes of the API's answer to an order
)

// order buys something through the reference API, which writes the payment and its charge in one transaction. It
// returns the charge's _id. An order whose fate is not known is repeated under its key, as every client should: that
// charges nobody twice.
func (s *stage) order(ctx context.Context, r role) (string, error) {
	body, err := json.Marshal(map[string]any{
		"amount": 1000 + r.number, "currency": "eur", "customer": r.customer(), "payment_method": r.card,
		"email": r.email(), "phone": r.mobile(), "description": fmt.Sprintf("order %d", r.number),
	})
	if err != nil {
		return "", fmt.Errorf("write the order: %w", err)
	}
	for {
		payment, again, err := s.post(ctx, r.id(), body)
		if err == nil {
			return "charge:" + payment, nil
		}
		if !again {
			return "", err
		}
		select {
		case <-time.After(orderAgain):
		case <-ctx.Done():
			return "", fmt.Errorf("%w; before that: %w", context.Cause(ctx), err)
		}
	}
}

// post sends an order once and returns the payment's id. again says whether repeating it may help.
func (s *stage) post(ctx context.Context, key string, body []byte) (payment string, again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.apiURL+"/payments", bytes.NewReader(body))
	if err != nil {
		return "", false, fmt.Errorf("POST /payments: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", key)
	resp, err := s.http.Do(req)
	if err != nil {
		return "", true, fmt.Errorf("POST /payments: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return "", true, fmt.Errorf("read the answer to POST /payments: %w", err)
	}
	switch resp.StatusCode {
	case http.StatusAccepted:
	case http.StatusConflict, http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return "", true, fmt.Errorf("POST /payments answered %d: %s", resp.StatusCode, answer)
	default:
		return "", false, fmt.Errorf("POST /payments answered %d: %s", resp.StatusCode, answer)
	}
	var taken struct{ ID string }
	if err := json.Unmarshal(answer, &taken); err != nil {
		return "", false, fmt.Errorf("read the answer to POST /payments: %w", err)
	}
	return taken.ID, false, nil
}
