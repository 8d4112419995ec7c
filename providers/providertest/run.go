package providertest

import (
	"cmp"
	"context"
	"fmt"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers"
)

const (
	patience   = 30 * time.Second       // of a row whose server answers
	shortTime  = 250 * time.Millisecond // of a row whose server never does
	floodLimit = 64 << 20               // bytes of three floods that may leave the server: what is read and what sockets buffer
	allocLimit = 64 << 20               // bytes that may be allocated for a flood, both sides together
)

// harness runs the rows of one step at a time.
type harness struct {
	suite     Suite
	server    *Server
	transport *providers.Transport
	provider  Provider
	rows      *atomic.Int64
}

// Run puts a provider through the suite and returns how many rows it had. It must not run in parallel with other tests
// of its package, because it watches the process's standard streams and its memory.
func Run(t *testing.T, suite Suite) int {
	t.Helper()
	out := capture(t)
	var rows atomic.Int64
	start := func(t *testing.T) *harness {
		h := &harness{suite: suite, server: NewServer(t), transport: providers.NewTransport(providers.TransportConfig{}), rows: &rows}
		h.provider = suite.New(t, h.server.URL, h.transport)
		t.Cleanup(h.transport.CloseIdleConnections)
		return h
	}
	t.Run("steps", func(t *testing.T) {
		for _, step := range suite.Steps {
			t.Run(step.Name, func(t *testing.T) {
				t.Parallel()
				h := start(t)
				h.row(t, step, Row{Name: "good", Reply: step.Good, Want: wantGood(step)})
				t.Run("statuses", func(t *testing.T) { h.statuses(t, step) })
				t.Run("connections", func(t *testing.T) { h.connections(t, step) })
				t.Run("strangers", func(t *testing.T) { h.strangers(t, step) })
				t.Run("rows", func(t *testing.T) {
					for _, row := range step.Rows {
						h.row(t, step, row)
					}
				})
			})
		}
	})
	for _, step := range suite.Steps {
		t.Run("flood "+step.Name, func(t *testing.T) { start(t).flood(t, step) })
	}
	t.Run("check", func(t *testing.T) { start(t).check(t) })
	t.Run("not sent", func(t *testing.T) { start(t).notSent(t) })
	written := out()
	for _, text := range suite.Forbidden {
		if strings.Contains(written, text) {
			t.Errorf("%q was written to a standard stream or logger", text)
		}
	}
	t.Logf("%s: %d rows", suite.Name, rows.Load())
	return int(rows.Load())
}

// wantGood is what the good answer's own status rule says.
func wantGood(step Step) Want { return step.status(step.Good.Status).Own }

func (s Step) status(status int) Status {
	for _, rule := range slices.Backward(s.Statuses) {
		if status >= rule.From && status <= rule.To {
			return rule
		}
	}
	return Status{Own: Want{Class: "no rule"}, Other: Want{Class: "no rule"}}
}

// notable are the statuses that are tried with every kind of body: all that some rule names, and their neighbours.
var notable = []int{
	200, 201, 202, 203, 206, 299, 300, 301, 302, 303, 304, 307, 308, 399, 400, 401, 402, 403, 404, 405, 406, 408, 409, 410, 413, 415, 418,
	421, 422, 423, 424, 425, 428, 429, 430, 431, 451, 499, 500, 501, 502, 503, 504, 505, 507, 511, 520, 529, 598, 599,
}

// statuses sweeps every status: with the provider's own body, an empty one and a page; the notable ones also with other
// kinds.
func (h *harness) statuses(t *testing.T, step Step) {
	page := "<html><body>" + strings.Join(h.suite.Forbidden, " ") + "</body></html>"
	for status := 200; status <= 599; status++ {
		rule := step.status(status)
		own := Reply{Status: status, Body: step.Good.Body, Header: step.Good.Header}
		if status >= 300 {
			own = JSON(status, step.Error(status))
		}
		if status >= 300 && status <= 399 {
			own = own.With("Location", h.server.URL+"/elsewhere")
		}
		try := func(kind string, want Want, change func(*Reply)) {
			reply := own.With("X-Echo", strings.Join(h.suite.Forbidden, " "))
			change(&reply)
			h.row(t, step, Row{Name: fmt.Sprintf("%d, %s", status, kind), Reply: reply, Want: want})
		}
		empty := cmp.Or(rule.Empty, rule.Other)
		try("empty body", empty, func(r *Reply) { r.Body = "" })
		if status == 204 { // has no body by definition
			continue
		}
		try("own body", rule.Own, func(*Reply) {})
		try("not JSON", rule.Other, func(r *Reply) { r.Body = page })
		if !slices.Contains(notable, status) {
			continue
		}
		try("wrong content type", rule.Own, func(r *Reply) { *r = r.With("Content-Type", "text/html") })
		try("other JSON", rule.Other, func(r *Reply) { r.Body = `{"unexpected":["JSON"]}` })
		if status != 304 {
			// Half of it is whole JSON, which must not be believed: nobody knows what else was cut off.
			try("cut off", rule.Other, func(r *Reply) { r.Body, r.Fault = r.Body+strings.Repeat(" ", len(r.Body)+40), Truncate })
		}
	}
}

func (h *harness) connections(t *testing.T, step Step) {
	silent := Want{Class: step.Silence, Code: outbox.CodeNoAnswer}
	for name, fault := range map[string]Fault{"reset unread": ResetUnread, "reset read": ResetRead, "dropped": Drop} {
		h.row(t, step, Row{Name: name, Reply: Reply{Fault: fault}, Want: silent})
	}
	h.timed(t, step, Row{Name: "never answers", Reply: Reply{Fault: Hang}, Want: silent}, shortTime)

	ctx, stop := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	defer stop()
	h.under(ctx, t, step, Row{
		Name: "cancelled", Reply: Reply{Fault: Hang, Then: stop},
		Want: Want{Class: step.Silence, Code: outbox.CodeAborted},
	})
	if len(step.Before) == 0 {
		h.rows.Add(1)
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		h.server.Script()
		_, _, err := step.Run(gone, h.provider)
		h.failure(t, "cancelled before", err, Want{Class: outbox.Transient, Code: outbox.CodeNotSent})
		if n := len(h.server.Requests()); n != 0 {
			t.Errorf("cancelled before: %d requests were sent", n)
		}
	}
}

// flood answers with a gigabyte, of which only the beginning may be read.
func (h *harness) flood(t *testing.T, step Step) {
	for _, row := range []Row{
		{Name: "success", Reply: Reply{Status: step.Good.Status, Fault: Flood}, Want: step.Broken},
		{Name: "server error", Reply: Reply{Status: 500, Fault: Flood}, Want: step.status(500).Other},
		{Name: "refusal", Reply: Reply{Status: 400, Fault: Flood}, Want: step.status(400).Other},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		h.row(t, step, row)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > allocLimit {
			t.Errorf("%s: %d MiB were allocated", row.Name, n>>20)
		}
	}
	h.server.close()
	if n := h.server.flooded.Load(); n > floodLimit {
		t.Errorf("%d MiB of the flood left the server", n>>20)
	}
}

// check puts the call that only tries the credentials through what it can meet.
func (h *harness) check(t *testing.T) {
	for _, c := range []struct {
		reply Reply
		want  Want
	}{
		{h.suite.CheckGood, Want{Class: outbox.Done}},
		{JSON(401, h.suite.Steps[0].Error(401)), Want{Class: outbox.Hold, Code: outbox.CodeUnauthorized}},
		{JSON(403, h.suite.Steps[0].Error(403)), Want{Class: outbox.Hold, Code: outbox.CodeForbidden}},
		{JSON(404, h.suite.Steps[0].Error(404)), Want{Class: outbox.Hold, Code: outbox.CodeNotTheProvider}},
		{JSON(401, `{}`), Want{Class: outbox.Hold, Code: outbox.CodeNotTheProvider}},
		{JSON(403, `{"message":"Forbidden"}`), Want{Class: outbox.Hold, Code: outbox.CodeNotTheProvider}},
		{Reply{Status: 404, Body: "<html>"}, Want{Class: outbox.Hold, Code: outbox.CodeNotTheProvider}},
		{Reply{Status: 503}, Want{Class: outbox.Transient, Code: outbox.CodeUnavailable}},
		{Reply{Fault: Drop}, Want{Class: outbox.Transient, Code: outbox.CodeNoAnswer}},
	} {
		h.rows.Add(1)
		h.server.Script(c.reply)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		err := h.provider.Check(ctx)
		cancel()
		name := fmt.Sprintf("%d", c.reply.Status)
		if c.want.Class == outbox.Done {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		h.failure(t, name, err, c.want)
	}
}

// notSent tries addresses at which no connection can come to be.
func (h *harness) notSent(t *testing.T) {
	refused := NewServer(t)
	refused.close()
	untrusted := httptest.NewTLSServer(nil)
	t.Cleanup(untrusted.Close)
	untrusted.Config.ErrorLog = nil
	for name, url := range map[string]string{
		"no such host":          "http://provider.invalid",
		"refused":               refused.URL,
		"untrusted certificate": untrusted.URL,
		"no TLS there":          strings.Replace(h.server.URL, "http:", "https:", 1),
	} {
		p := h.suite.New(t, url, h.transport)
		for _, step := range h.suite.Steps {
			if len(step.Before) > 0 {
				continue
			}
			h.rows.Add(1)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			_, _, err := step.Run(ctx, p)
			cancel()
			h.failure(t, name+" "+step.Name, err, Want{Class: outbox.Transient, Code: outbox.CodeNotSent})
		}
	}
}
