package simulator

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// answer is the complete answer of a fault that does "status".
func (f *Fault) answer(p api) reply {
	rep := p.failure(f.Status)
	if f.Body != "" {
		rep.body = []byte(f.Body)
	}
	return f.withHeaders(rep)
}

// withHeaders lays the fault's headers over the answer's.
func (f *Fault) withHeaders(rep reply) reply {
	rep.header = maps.Clone(rep.header)
	if rep.header == nil {
		rep.header = http.Header{}
	}
	for name, value := range f.Headers {
		// A reset instant has to be ahead of the client's clock, so a script gives it relative to now.
		if seconds, ok := strings.CutPrefix(value, "+"); ok {
			if n, err := strconv.Atoi(seconds); err == nil {
				value = strconv.FormatInt(time.Now().Unix()+int64(n), 10)
			}
		}
		rep.header[http.CanonicalHeaderKey(name)] = []string{value}
	}
	return rep
}

// lie does to the connection what the fault says. truth is the provider's answer, without status if it did not act.
func (s *Sim) lie(w http.ResponseWriter, c *call, p api, f *Fault, truth reply) {
	base := truth
	if base.status == 0 {
		base = p.failure(http.StatusBadGateway)
	}
	base.status = cmp.Or(f.Status, base.status)
	switch f.Do {
	case DoStatus:
		s.write(w, c, p, f.answer(p))
	case DoHTML:
		base.status = cmp.Or(f.Status, http.StatusBadGateway)
		page := fmt.Sprintf("<html>\r\n<head><title>%d %s</title></head>\r\n<body><center><h1>%[1]d %[2]s</h1></center></body>\r\n</html>\r\n",
			base.status, http.StatusText(base.status))
		base.header = http.Header{"Content-Type": {"text/html"}}
		base.body = []byte(cmp.Or(f.Body, page))
		s.write(w, c, p, f.withHeaders(base))
	case DoGarbage:
		base.header = http.Header{"Content-Type": {"application/json"}}
		base.body = []byte(cmp.Or(f.Body, "\x1f\x8b\x00{]not json"))
		s.write(w, c, p, f.withHeaders(base))
	case DoEmpty:
		base.body = nil
		s.write(w, c, p, f.withHeaders(base))
	case DoRedirect:
		base.status = cmp.Or(f.Status, http.StatusFound)
		base.header = http.Header{"Location": {controlPrefix + "redirected"}}
		base.body = []byte(f.Body)
		s.write(w, c, p, f.withHeaders(base))
	case DoFlood:
		s.flood(w, c, p, f, base)
	case DoTruncate:
		s.truncate(w, c, p, f.withHeaders(base))
	case DoHang:
		select {
		case <-c.req.Context().Done():
		case <-s.done:
		}
		s.abandon(w, c, p)
	case DoReset:
		s.requests.answer(p.name(), c.route, 0)
		cut(w, true)
	case DoDrop:
		s.abandon(w, c, p)
	}
}

// abandon gives no answer: the connection ends in the ordinary way.
func (s *Sim) abandon(w http.ResponseWriter, c *call, p api) {
	s.requests.answer(p.name(), c.route, 0)
	cut(w, false)
}

// flood sends the fault's size in bytes, without holding more than one block of it.
func (s *Sim) flood(w http.ResponseWriter, c *call, p api, f *Fault, base reply) {
	base = f.withHeaders(base)
	maps.Copy(w.Header(), base.header)
	w.Header().Set("Content-Length", strconv.FormatInt(f.Size, 10))
	s.requests.answer(p.name(), c.route, base.status)
	w.WriteHeader(base.status)
	block := bytes.Repeat([]byte("x"), 32<<10)
	for left := f.Size; left > 0; {
		select {
		case <-s.done:
			panic(http.ErrAbortHandler)
		default:
		}
		n, err := w.Write(block[:min(left, int64(len(block)))])
		if err != nil {
			return // the client has had enough
		}
		left -= int64(n)
	}
}

// truncate announces a whole answer and ends the connection after half of it.
func (s *Sim) truncate(w http.ResponseWriter, c *call, p api, rep reply) {
	s.requests.answer(p.name(), c.route, rep.status)
	conn := hijack(w)
	var buf bytes.Buffer
	fmt.Fprintf(&buf, "HTTP/1.1 %d %s\r\n", rep.status, http.StatusText(rep.status))
	header := maps.Clone(rep.header)
	// An answer without body (SendGrid's 202) is cut as well: some body is announced and none comes.
	header.Set("Content-Length", strconv.Itoa(max(len(rep.body), 64)))
	_ = header.Write(&buf) // a bytes.Buffer takes everything
	buf.WriteString("\r\n")
	buf.Write(rep.body[:len(rep.body)/2])
	_, _ = conn.Write(buf.Bytes()) // a client that left sees the end all the same
	_ = conn.Close()
}

// cut ends the connection without an answer, by a TCP reset or by an ordinary end.
func cut(w http.ResponseWriter, reset bool) {
	conn := hijack(w)
	if tcp, ok := conn.(*net.TCPConn); ok && reset {
		_ = tcp.SetLinger(0) // unsent data is thrown away and the peer gets RST; an error means it is gone already
	}
	_ = conn.Close()
}

// hijack takes the connection from the server. Where that is not possible (HTTP/2, a recorder) the request is aborted,
// which the client sees as a broken connection too.
func hijack(w http.ResponseWriter) net.Conn {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	return conn
}
