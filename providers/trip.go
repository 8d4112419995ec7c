package providers

import (
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

const (
	// trusted is for how long a connection may have idled that shall carry a request which must not be repeated.
	// Servers close idle connections after seconds; the news of it takes as long as one way through the network.
	trusted = 500 * time.Millisecond
	// longLine is a length of a request's first line. From this length on, a part of it may be written before
	// net/http tells that it began to write the request.
	longLine = 2 << 10
)

// trip is one try to carry a request over one connection.
type trip struct {
	once bool // the request must not be repeated

	got   bool  // a connection took it over
	conn  *conn // which one, nil if it is none of ours
	kept  bool  // it was a kept one
	begun atomic.Bool
	wrote atomic.Bool // something was written since a connection took it over
}

func newTrip(req *http.Request) *trip {
	return &trip{once: req.Method != http.MethodGet && req.Header.Get("Idempotency-Key") == ""}
}

// request returns the request for net/http, which can neither repeat it nor tell about this machine.
func (t *trip) request(req *http.Request) *http.Request {
	long := len(req.URL.RequestURI()) > longLine
	out := req.Clone(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			t.begun.Store(long)
			t.got, t.conn, t.kept = true, watched(info.Conn), info.Reused || info.WasIdle
			if t.conn != nil {
				t.conn.claim(t, t.kept, t.once && info.IdleTime > trusted)
			}
		},
		WroteHeaderField: func(string, []string) { t.begun.Store(true) }, // into a buffer, before any of it is written
	}))
	out.GetBody = nil
	out.Header.Del("X-Stripe-Client-User-Agent")
	out.Header.Del("X-Stripe-Client-Telemetry")
	return out
}

// sent reports, after the trip has failed, whether any of the request may have left. If not, none ever will. What TLS
// wrote to say farewell does not count, for net/http had not begun with the request by then.
func (t *trip) sent() bool {
	if t.conn == nil {
		return t.got
	}
	return t.conn.seal(t) && t.begun.Load()
}

// unasked reports whether what came is no answer, because the request was not written when it came; then it never
// will be.
func (t *trip) unasked() bool { return t.conn != nil && t.kept && t.conn.refuseUnlessWritten(t) }
