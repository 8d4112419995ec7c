package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// raw sends bytes as they are, and returns the status of the answer.
func (d *adminProcess) raw(t *testing.T, request string) int {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(d.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, request) // a server that has refused already may close first
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// What people try, and what comes of it. After all of it nothing is changed.
func TestAdminAttacks(t *testing.T) {
	w := newWorld(t)
	w.insert(t, intent("sms", "one"))
	path, secrets := tokens(t, "operate", "read")
	d := w.admin(t, "  proxy: {from: [192.0.2.0/24], user: X-Forwarded-User, role: operate}\n", "--tokens-file", path)
	good := bearer(secrets["operate"])
	in := d.call(t, "POST", "/login", "token="+secrets["operate"], "Content-Type: application/x-www-form-urlencoded", "Origin: "+d.url).want(t, 303)
	cookie := "Cookie: " + strings.Split(in.header.Get("Set-Cookie"), ";")[0]
	const pause, why = "/api/v1/lanes/sms/pause", `{"why":"an attack"}`
	million := strings.Repeat("a", 1_000_000)
	for _, c := range []struct {
		name, method, path, body string
		headers                  []string
		want                     int
	}{
		{name: "no token", method: "GET", path: "/api/v1/overview", want: 401},
		{name: "no token, a change", method: "POST", path: pause, body: why, want: 401},
		{name: "wrong token", method: "POST", path: pause, body: why, headers: []string{bearer("outboxd_with-operate_" + strings.Repeat("A", 43))}, want: 401},
		{name: "the secret of one, the name of another", method: "POST", path: pause, body: why,
			headers: []string{bearer(strings.Replace(secrets["read"], "with-read", "with-operate", 1))}, want: 401},
		{name: "a token as basic authentication", method: "POST", path: pause, body: why, headers: []string{"Authorization: Basic " + secrets["operate"]}, want: 401},
		{name: "a role that is not enough", method: "POST", path: pause, body: why, headers: []string{bearer(secrets["read"])}, want: 403},
		{name: "forged proxy header", method: "POST", path: pause, body: why, headers: []string{"X-Forwarded-User: root"}, want: 400},
		{name: "forged proxy header beside a token", method: "GET", path: "/api/v1/overview", headers: []string{good, "X-Forwarded-User: root"}, want: 400},
		{name: "CSRF by another origin", method: "POST", path: pause, body: why, headers: []string{cookie, "Origin: https://evil.example"}, want: 403},
		{name: "CSRF by another site", method: "POST", path: pause, body: why, headers: []string{cookie, "Sec-Fetch-Site: cross-site"}, want: 403},
		{name: "CSRF by a form", method: "POST", path: pause, body: "why=x", headers: []string{cookie, "Origin: null", "Content-Type: text/plain"}, want: 403},
		{name: "a change with a cookie alone", method: "POST", path: pause, body: why, headers: []string{cookie}, want: 403},
		{name: "a change by GET", method: "GET", path: pause, headers: []string{good}, want: 405},
		{name: "another method by a header", method: "GET", path: pause, headers: []string{good, "X-HTTP-Method-Override: POST"}, want: 405},
		{name: "a form instead of JSON", method: "POST", path: pause, body: "why=x", headers: []string{good, "Content-Type: application/x-www-form-urlencoded"}, want: 415},
		{name: "a session that is none", method: "GET", path: "/api/v1/overview", headers: []string{"Cookie: outboxd=" + strings.Repeat("A", 43)}, want: 401},
		{name: "DNS rebinding", method: "GET", path: "/api/v1/overview", headers: []string{good, "Host: evil.example"}, want: 421},
		{name: "dots", method: "GET", path: "/api/v1/../../etc/passwd", headers: []string{good}, want: 400},
		{name: "hidden dots", method: "GET", path: "/api/v1/%2e%2e/overview", headers: []string{good}, want: 400},
		{name: "a hidden slash", method: "GET", path: "/api/v1%2foverview", headers: []string{good}, want: 400},
		{name: "two slashes", method: "GET", path: "//api/v1/overview", headers: []string{good}, want: 400},
		{name: "a backslash", method: "GET", path: "/api/v1/%5coverview", headers: []string{good}, want: 400},
		{name: "a query of 10⁶ bytes", method: "GET", path: "/api/v1/intents?id=" + million, headers: []string{good}, want: 431},
		{name: "a query of 5,000 bytes", method: "GET", path: "/api/v1/intents?id=" + million[:5000], headers: []string{good}, want: 414},
		{name: "a body of 10⁶ bytes", method: "POST", path: "/api/v1/jobs", body: `{"op":"retry","why":"` + million + `"}`, headers: []string{good}, want: 413},
		{name: "an operator of MongoDB as a filter", method: "POST", path: "/api/v1/jobs", body: `{"op":"retry","why":"x","filter":{"kind":{"$ne":""}}}`, headers: []string{good}, want: 400},
		{name: "an operator of MongoDB as a key", method: "GET", path: "/api/v1/intents?meta.$where=1", headers: []string{good}, want: 422},
		{name: "an id that is an operator", method: "GET", path: "/api/v1/intents/" + inPath(`{"$gt":""}`), headers: []string{good}, want: 422},
		{name: "a cursor of one's own", method: "GET", path: "/api/v1/intents?after=e30.AAAA", headers: []string{good}, want: 400},
		{name: "a job over everything", method: "POST", path: "/api/v1/jobs", body: `{"op":"discard","why":"x"}`, headers: []string{good}, want: 422},
		{name: "a token in the URL", method: "GET", path: "/api/v1/overview?token=" + secrets["operate"], want: 401},
		{name: "an open redirect", method: "GET", path: "/login?next=//evil.example", want: 200},
	} {
		r := d.call(t, c.method, c.path, c.body, c.headers...)
		if r.status != c.want {
			t.Errorf("%s: %d, want %d: %.200s", c.name, r.status, c.want, r.body)
		}
		if strings.Contains(r.body, "evil.example") {
			t.Errorf("%s: the answer leads there: %s", c.name, r.body)
		}
		for _, header := range []string{"Content-Security-Policy", "X-Content-Type-Options", "Cache-Control"} {
			if r.header.Get(header) == "" && c.want != 431 { // which net/http answers by itself
				t.Errorf("%s: no %s", c.name, header)
			}
		}
	}
	for name, c := range map[string]struct {
		request string
		want    int
	}{
		"two lengths":     {"POST " + pause + " HTTP/1.1\r\nHost: localhost\r\n" + good + "\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400},
		"length and more": {"POST " + pause + " HTTP/1.1\r\nHost: localhost\r\n" + good + "\r\nContent-Length: 1\r\nTransfer-Encoding: chunked, identity\r\n\r\nab", 501},
		"CONNECT":         {"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n", 400},
		"absolute form":   {"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 421},
	} {
		if got := d.raw(t, c.request); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
	// Guesses are counted, and whoever signed in under that name before goes on.
	for i := range 10 {
		r := d.call(t, "GET", "/api/v1/overview", "", bearer(fmt.Sprintf("outboxd_with-operate_%043d", i)))
		if i == 9 && r.status != 429 {
			t.Errorf("guess %d: %d", i, r.status)
		}
	}
	d.call(t, "GET", "/api/v1/overview", "", good).want(t, 200)
	if _, page := get(t, d.metrics+"/metrics"); strings.Contains(page, "outboxd_admin_logins_failed_total 0") || strings.Contains(page, "evil") {
		t.Error("failed sign-ins are not counted, or a client wrote a label")
	}
	if lanes := d.call(t, "GET", "/api/v1/lanes/sms", "", good).want(t, 200); lanes.field("state") != "open" {
		t.Errorf("an attack paused the lane: %s", lanes.body)
	}
	if n, err := w.db.Collection("outbox_jobs").CountDocuments(t.Context(), bson.D{}); n != 0 || err != nil {
		t.Errorf("%d jobs, %v", n, err)
	}
	if text := d.log.String(); strings.Contains(text, secrets["operate"]) || strings.Contains(text, strings.Split(cookie, "=")[1]) {
		t.Error("the log has a token or a session")
	}
}

// Who sends a request byte by byte, or does not read the answer, holds up nobody and loses the connection.
func TestAdminSlowClients(t *testing.T) {
	w := newWorld(t)
	d := w.admin(t, "")
	address := strings.TrimPrefix(d.url, "http://")
	began := time.Now()
	var slow []net.Conn
	for i := range 200 {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		request := "GET /api/v1/overview HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
		if i%2 == 1 {
			request = "POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
		}
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		slow = append(slow, conn)
	}
	for range 20 {
		if r := d.call(t, "GET", "/api/v1/overview", ""); r.status != 200 {
			t.Fatalf("beside slow clients: %d %s", r.status, r.body)
		}
	}
	for _, conn := range slow {
		if err := conn.SetReadDeadline(began.Add(40 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, conn); err != nil && strings.Contains(err.Error(), "i/o timeout") {
			t.Fatal("a slow client keeps its connection")
		}
	}
}
