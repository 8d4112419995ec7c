package dispatcher

import (
	"github.com/outboxd/outboxd/outbox"
)

// attrs are the keys of an outcome's line, the same everywhere. Nothing of a payload is among them.
func attrs(o outcome) []any {
	d := o.Decision
	list := []any{
		"intent", o.Intent.ID.String(), "kind", o.kind, "attempt", o.Intent.Attempts,
		"outcome", string(d.Outcome), "status", string(d.Status),
	}
	if d.Reason != "" {
		list = append(list, "reason", string(d.Reason))
	}
	if f := d.Failure; f != nil {
		list = append(list, "code", f.Code, "provider", f.Provider, "provider_code", f.ProviderCode,
			"http_status", f.HTTPStatus, "request_id", f.RequestID)
	} else if d.Receipt != nil {
		list = append(list, "provider", d.Receipt.Provider, "result", d.Receipt.ID)
	}
	if d.Status == outbox.StatusPending {
		list = append(list, "delay", d.Delay)
	}
	return append(list, "took", o.Took, "worker", o.Intent.Lease.Owner)
}
