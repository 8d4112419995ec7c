package simulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	logsPage      = 10   // messages an answer, unless limit says otherwise (SendGrid, "Email Logs", ListMessagesByFilter)
	logsPageMax   = 1000 // the same page; there is no next one
	logsRetention = 30 * 24 * time.Hour
)

// logEntry is one message to one recipient. It is never changed.
type logEntry struct {
	id, from, to, subject, template string
	args                            map[string]string
	categories                      []string
	at                              time.Time
}

func (e *logEntry) visible(now time.Time, delay time.Duration) bool {
	age := now.Sub(e.at)
	return age >= delay && age <= logsRetention
}

// logsError is an error of the Email Logs API, which unlike Mail Send leaves out what it has nothing to say about.
func logsError(status int, message, field string) reply {
	e := map[string]string{"message": message}
	if field != "" {
		e["field"] = field
	}
	return jsonReply(status, map[string]any{"errors": []any{e}})
}

// findLogs is POST /v3/logs.
func (p *sendgridAPI) findLogs(c *call) reply {
	var in struct {
		Query    string   `json:"query"`
		Limit    *int     `json:"limit"`
		Subusers []string `json:"subusers"`
	}
	if err := json.Unmarshal(c.body, &in); err != nil {
		return logsError(http.StatusBadRequest, "invalid request body", "")
	}
	limit := logsPage
	if in.Limit != nil {
		limit = *in.Limit
	}
	if limit < 1 || limit > logsPageMax {
		return logsError(http.StatusBadRequest, "limit must be between 1 and 1000", "limit")
	}
	q, err := readLogQuery(in.Query)
	if err != nil {
		return logsError(http.StatusBadRequest, err.Error(), "query")
	}
	delay := time.Duration(p.sim.settings.logsDelay.Load())

	p.mu.Lock()
	entries := p.all
	if q.to != "" {
		entries = p.byTo[strings.ToLower(q.to)]
	}
	p.mu.Unlock() // entries are never changed, and an append never touches what this slice shows
	type summary struct {
		From    string `json:"from_email"`
		ID      string `json:"sg_message_id"`
		Subject string `json:"subject"`
		To      string `json:"to_email"`
		Reason  string `json:"reason"`
		Status  string `json:"status"`
		Created string `json:"sg_message_id_created_at"`
	}
	found := []summary{}
	for _, e := range slices.Backward(entries) {
		if len(found) == limit {
			break
		}
		if e.visible(c.now, delay) && q.match(e) {
			found = append(found, summary{e.from, e.id, e.subject, e.to, "250 OK", "delivered", e.at.UTC().Format(time.RFC3339)})
		}
	}
	return jsonReply(http.StatusOK, map[string]any{"messages": found})
}

// showLog is GET /v3/logs/{sg_message_id}.
func (p *sendgridAPI) showLog(c *call, sc *sendgridCall) reply {
	p.mu.Lock()
	e := p.byID[sc.id]
	p.mu.Unlock()
	if e == nil || !e.visible(c.now, time.Duration(p.sim.settings.logsDelay.Load())) {
		return logsError(http.StatusNotFound, "message not found", "")
	}
	event := func(name string) map[string]any {
		return map[string]any{
			"event": name, "timestamp": e.at.Unix(), "sg_event_id": newID("", 22), "sg_message_id": e.id, "email": e.to,
			"smtp-id": "<" + e.id + "@simulated>",
		}
	}
	delivered := event("delivered")
	delivered["ip"], delivered["response"] = "127.0.0.1", "250 OK"
	out := map[string]any{
		"from_email": e.from, "sg_message_id": e.id, "subject": e.subject, "to_email": e.to, "status": "delivered",
		"api_key_id": "simulated", "client_ip": "127.0.0.1", "outbound_ip": "127.0.0.1", "outbound_ip_type": "dedicated",
		"events": []any{delivered, event("processed")}, "category": append([]string{}, e.categories...),
		"custom_args": e.args,
	}
	if e.args == nil {
		out["custom_args"] = map[string]string{}
	}
	if e.template != "" {
		out["template_id"] = e.template
	}
	return jsonReply(http.StatusOK, out)
}

// logQuery is a parsed filter: conditions joined by AND, no nesting.
type logQuery struct {
	to    string // the recipient, where the query names one: it picks the index
	tests []func(*logEntry) bool
}

func (q *logQuery) match(e *logEntry) bool {
	return !slices.ContainsFunc(q.tests, func(test func(*logEntry) bool) bool { return !test(e) })
}

var (
	logCondition = regexp.MustCompile(`^\s*([a-z_]+)\s*(?i:(>=|<=|=|>|<|IN))\s*(.+?)\s*$`)
	logTimestamp = regexp.MustCompile(`^(?i:TIMESTAMP)\s+("[^"]*"|'[^']*')$`)
	logList      = regexp.MustCompile(`^\((.*)\)$`)
)

// readLogQuery understands the fields and operators that the Email Logs page allows; custom_args is not among them.
func readLogQuery(text string) (*logQuery, error) {
	q := &logQuery{}
	if strings.TrimSpace(text) == "" {
		return q, nil
	}
	conditions, err := splitOutsideQuotes(text, " AND ")
	if err != nil {
		return nil, err
	}
	for _, condition := range conditions {
		m := logCondition.FindStringSubmatch(condition)
		if m == nil {
			return nil, errors.New("query: want conditions like to_email = 'a@example.com' joined by AND")
		}
		test, err := readLogCondition(q, m[1], strings.ToUpper(m[2]), m[3])
		if err != nil {
			return nil, err
		}
		q.tests = append(q.tests, test)
	}
	return q, nil
}

func readLogCondition(q *logQuery, field, op, value string) (func(*logEntry) bool, error) {
	switch {
	case field == "sg_message_id_created_at" && op != "=" && op != "IN":
		m := logTimestamp.FindStringSubmatch(value)
		if m == nil {
			return nil, errors.New(`query: sg_message_id_created_at wants TIMESTAMP "2025-01-01T00:00:00Z"`)
		}
		at, err := time.Parse(time.RFC3339, m[1][1:len(m[1])-1])
		if err != nil {
			return nil, errors.New("query: a timestamp is not RFC 3339")
		}
		// The log shows whole seconds, and compares what it shows.
		return func(e *logEntry) bool {
			order := e.at.Truncate(time.Second).Compare(at)
			return map[string]bool{">": order > 0, ">=": order >= 0, "<": order < 0, "<=": order <= 0}[op]
		}, nil
	case op == "=" && (field == "to_email" || field == "subject" || field == "sg_message_id" || field == "reason"):
		want, err := unquote(value)
		if err != nil {
			return nil, err
		}
		switch field {
		case "to_email":
			q.to = want
			return func(e *logEntry) bool { return strings.EqualFold(e.to, want) }, nil
		case "subject":
			return func(e *logEntry) bool { return e.subject == want }, nil
		case "sg_message_id":
			return func(e *logEntry) bool { return e.id == want }, nil
		}
		return func(*logEntry) bool { return want == "250 OK" }, nil
	case op == "IN" && (field == "status" || field == "categories"):
		m := logList.FindStringSubmatch(value)
		if m == nil {
			return nil, fmt.Errorf("query: %s IN wants a list of strings in brackets", field)
		}
		parts, err := splitOutsideQuotes(m[1], ",")
		if err != nil {
			return nil, err
		}
		var wanted []string
		for _, part := range parts {
			v, err := unquote(strings.TrimSpace(part))
			if err != nil {
				return nil, err
			}
			wanted = append(wanted, v)
		}
		if field == "status" {
			return func(*logEntry) bool { return slices.Contains(wanted, "delivered") }, nil
		}
		return func(e *logEntry) bool {
			return slices.ContainsFunc(e.categories, func(c string) bool { return slices.Contains(wanted, c) })
		}, nil
	}
	return nil, fmt.Errorf("query: %s %s is not supported", field, op)
}

// unquote takes off the quotes; a doubled quote, as in SQL, or one behind a backslash stands for itself.
func unquote(s string) (string, error) {
	if len(s) < 2 || (s[0] != '\'' && s[0] != '"') || s[len(s)-1] != s[0] {
		return "", errors.New("query: a string must stand in quotes")
	}
	quote := s[:1]
	inner := strings.ReplaceAll(s[1:len(s)-1], quote+quote, quote)
	return strings.ReplaceAll(inner, `\`+quote, quote), nil
}

// splitOutsideQuotes splits at every separator (in capitals or not) that does not stand in a quoted string.
func splitOutsideQuotes(text, separator string) ([]string, error) {
	var out []string
	var quote byte
	start := 0
	for i := 0; i < len(text); i++ {
		switch b := text[i]; {
		case quote != 0 && b == '\\':
			i++
		case quote != 0 && b == quote:
			quote = 0
		case quote != 0:
		case b == '\'' || b == '"':
			quote = b
		case len(text)-i >= len(separator) && strings.EqualFold(text[i:i+len(separator)], separator):
			out = append(out, text[start:i])
			i += len(separator) - 1
			start = i + 1
		}
	}
	if quote != 0 {
		return nil, errors.New("query: a quoted string does not end")
	}
	return append(out, text[start:]), nil
}
