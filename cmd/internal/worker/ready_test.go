package worker

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outboxd/outboxd/dispatcher"
)

// probe is a question whose answer a test sets.
type probe struct {
	mu  sync.Mutex
	err error
}

func (p *probe) set(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

func (p *probe) ask(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// answer is what /readyz says.
func answer(r *readiness) (int, string) {
	rec := httptest.NewRecorder()
	r.ServeHTTP(rec, httptest.NewRequest("GET", "/readyz", nil))
	return rec.Code, strings.TrimSpace(rec.Body.String())
}

func TestReadinessFollowsDatabaseSchemaClaimsAndStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var database, schema, lease probe
		r := newReadiness()
		expect := func(code int, body string) {
			t.Helper()
			if gotCode, gotBody := answer(r); gotCode != code || gotBody != body {
				t.Errorf("got %d %s, want %d %s", gotCode, gotBody, code, body)
			}
		}
		expect(503, `{"ready":false,"reasons":["MongoDB was not asked yet"]}`)

		r.begin(database.ask, schema.ask, lease.ask)
		expect(200, `{"ready":true}`)

		database.set(errors.New("mongodb://user:pa55word@host is away"))
		time.Sleep(readyAge)
		expect(503, `{"ready":false,"reasons":["MongoDB has no primary that answers within 2s"]}`)

		database.set(nil)
		schema.set(errors.New("the schema is newer than this outboxd"))
		time.Sleep(readyAge)
		expect(503, `{"ready":false,"reasons":["the schema is newer than this outboxd"]}`)

		schema.set(nil)
		lease.set(errors.New("take a lease: MongoDB answered Unauthorized (code 13)"))
		time.Sleep(readyAge)
		expect(503, `{"ready":false,"reasons":["the worker may not claim: take a lease: MongoDB answered Unauthorized (code 13)"]}`)

		lease.set(nil)
		time.Sleep(readyAge)
		r.claimed("sms", errors.New("refused"))
		r.claimed("email", nil)
		expect(503, `{"ready":false,"reasons":["the last claim of kind sms failed"]}`)
		r.claimed("sms", nil)
		expect(200, `{"ready":true}`)

		r.stop()
		expect(503, `{"ready":false,"reasons":["the worker is stopping"]}`)
	})
}

// A database that hangs must not leave an old answer standing.
func TestReadinessBoundsItsQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReadiness()
		hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		answers := func(context.Context) error { return nil }
		for _, c := range []struct {
			database, lease func(context.Context) error
			want            string
		}{{hang, answers, "no primary"}, {answers, hang, "no majority"}} {
			r.begin(c.database, answers, c.lease)
			if code, body := answer(r); code != 503 || !strings.Contains(body, c.want) {
				t.Errorf("got %d %s, want %s", code, body, c.want)
			}
			time.Sleep(readyAge)
		}
	})
}

// Lanes that are stopped are a detail: nobody is less ready for it.
func TestReadinessShowsStoppedLanes(t *testing.T) {
	r := newReadiness()
	nothing := func(context.Context) error { return nil }
	r.begin(nothing, nothing, nothing)
	r.show(func() []dispatcher.LaneStatus {
		return []dispatcher.LaneStatus{{Kind: "charge", State: dispatcher.StateOpen}, {Kind: "email", State: dispatcher.StateBroken},
			{Kind: "sms", State: dispatcher.StateHeld, Why: "unauthorized"}}
	})
	code, body := answer(r)
	if want := `{"ready":true,"lanes":{"email":"broken","sms":"held: unauthorized"}}`; code != 200 || body != want {
		t.Errorf("got %d %s, want %s", code, body, want)
	}
}
