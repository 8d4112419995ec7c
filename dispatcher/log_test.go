package dispatcher_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/outboxd/outboxd/dispatcher"
	"github.com/outboxd/outboxd/outbox"
)

// lines are what a worker logged about outcomes.
func lines(t *testing.T, log *bytes.Buffer, message string) []map[string]any {
	t.Helper()
	var found []map[string]any
	for line := range strings.Lines(log.String()) {
		var l map[string]any
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		if l["msg"] == message {
			found = append(found, l)
		}
	}
	return found
}

func TestAnOutcomesLine(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box := newBox()
		p := &provider{deliver: func(ctx context.Context, in *outbox.Intent, _ int) error {
			<-time.After(1500 * time.Microsecond)
			if in.Metadata["tenant"] == "poor" {
				return &outbox.Failure{Class: outbox.Permanent, Code: outbox.CodeDeclined, Provider: "stripe", HTTPStatus: 402}
			}
			return nil
		}}
		const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
		for _, tenant := range []string{"rich", "poor"} {
			box.insert(t, "sms", map[string]any{
				"metadata": map[string]any{"tenant": tenant, "order": "o-7"},
				"trace":    map[string]any{"traceparent": "00-" + trace + "-00f067aa0ba902b7-01"},
			})
		}
		var log bytes.Buffer
		r := start(t, dispatcher.Config{Store: box, Lanes: []dispatcher.Lane{laneOf("sms", p)}, Logger: slog.New(slog.NewJSONHandler(&log, nil)),
			Logs: dispatcher.Logs{Metadata: []string{"tenant", "absent"}}})
		<-time.After(time.Second)
		r.end(t)
		found := lines(t, &log, "settled")
		if len(found) != 2 {
			t.Fatalf("%d lines, want 2: %s", len(found), log.String())
		}
		for _, l := range found {
			tenant := fmt.Sprint(l["metadata"])
			want := map[string]any{"level": "INFO", "took_ms": 1.5, "trace_id": trace}
			if tenant == "map[tenant:poor]" {
				want["code"], want["http_status"], want["status"] = "declined", 402.0, "dead"
			} else if tenant != "map[tenant:rich]" {
				t.Errorf("metadata is %s", tenant)
			}
			for key, value := range want {
				if l[key] != value {
					t.Errorf("%s of %s is %v, want %v", key, tenant, l[key], value)
				}
			}
			for key, value := range l {
				if value == "" || value == nil {
					t.Errorf("%s of %s is empty", key, tenant)
				}
			}
		}
	})
}

func TestSuccessesAreSampled(t *testing.T) {
	bubble(t, func(t *testing.T) {
		box := newBox()
		p := &provider{deliver: func(_ context.Context, in *outbox.Intent, _ int) error {
			if in.Metadata["n"] == "7" {
				return &outbox.Failure{Class: outbox.Permanent, Code: outbox.CodeRejected}
			}
			return nil
		}}
		for i := range 50 {
			box.insert(t, "sms", map[string]any{"metadata": map[string]any{"n": fmt.Sprint(i)}})
		}
		var log bytes.Buffer
		r := start(t, dispatcher.Config{Store: box, Lanes: []dispatcher.Lane{laneOf("sms", p)}, Logger: slog.New(slog.NewJSONHandler(&log, nil)),
			Logs: dispatcher.Logs{Successes: 10}})
		<-time.After(5 * time.Second)
		r.end(t)
		done, dead, told := 0, 0, 0.0
		for _, l := range lines(t, &log, "settled") {
			if l["status"] == "done" {
				done++
			} else {
				dead++
			}
		}
		for _, l := range lines(t, &log, "settled more, without a line for each") {
			told += l["outcomes"].(float64)
		}
		if done < 10 || done >= 49 || dead != 1 || float64(done)+told != 49 {
			t.Errorf("%d lines of successes, %v more told, %d of the other one; want 49 in all, and 1", done, told, dead)
		}
	})
}
