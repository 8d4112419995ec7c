package api_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/outboxd/outboxd/admin"
	"github.com/outboxd/outboxd/admin/api"
	"github.com/outboxd/outboxd/outbox"
)

// desk stands in for the store: it holds no intent and no job, and remembers what it was asked.
type desk struct {
	searches []outbox.Search
	acts     []outbox.Act
	paused   []string
	limited  []string
	err      error // of Find
}

func (d *desk) Find(_ context.Context, s outbox.Search) (outbox.Page, error) {
	d.searches = append(d.searches, s)
	return outbox.Page{Next: "position"}, d.err
}
func (*desk) Look(context.Context, string) (outbox.Snapshot, error) {
	return outbox.Snapshot{}, outbox.ErrNotFound
}
func (*desk) Groups(context.Context, string) ([]outbox.Group, error) { return nil, nil }
func (*desk) Census(context.Context) (outbox.Census, error)          { return outbox.Census{}, nil }
func (*desk) Rates(context.Context, string, time.Time, time.Time) ([]outbox.RateMinute, error) {
	return nil, nil
}
func (*desk) RatesBy(context.Context, string, time.Time, time.Time, time.Duration) ([]outbox.RateMinute, error) {
	return nil, nil
}
func (*desk) Lanes(context.Context) (map[string]outbox.LaneState, error) { return nil, nil }
func (*desk) Workers(context.Context) ([]outbox.Worker, error)           { return nil, nil }
func (*desk) Now() time.Time                                             { return time.Unix(0, 0) }
func (*desk) Retry(context.Context, outbox.Snapshot, outbox.DeadRetry, outbox.Hand) error {
	return nil
}
func (*desk) Resolve(context.Context, outbox.Snapshot, outbox.Resolution) (outbox.Settled, error) {
	return outbox.Settled{}, nil
}
func (*desk) Cancel(context.Context, outbox.Snapshot) error               { return nil }
func (*desk) Discard(context.Context, outbox.Snapshot, outbox.Hand) error { return nil }
func (d *desk) Pause(_ context.Context, kind, why, by string) error {
	d.paused = append(d.paused, kind+" "+why+" "+by)
	return nil
}
func (*desk) Resume(context.Context, string) error { return nil }
func (d *desk) Limit(_ context.Context, kind string, perSecond float64, why, by string) error {
	d.limited = append(d.limited, fmt.Sprint(kind, " ", perSecond, " ", why, " ", by))
	return nil
}
func (d *desk) Unlimit(_ context.Context, kind string) error {
	d.limited = append(d.limited, kind+" off")
	return nil
}
func (*desk) AddJob(context.Context, outbox.Job) error { return nil }
func (*desk) Job(context.Context, string) (outbox.Job, error) {
	return outbox.Job{}, outbox.ErrNotFound
}
func (*desk) Jobs(context.Context, int) ([]outbox.Job, error)             { return nil, nil }
func (*desk) SaveJob(_ context.Context, j outbox.Job) (outbox.Job, error) { return j, nil }
func (*desk) LeaseJob(context.Context, string, time.Duration) (outbox.Job, bool, error) {
	return outbox.Job{}, false, nil
}
func (d *desk) Begin(_ context.Context, acts ...outbox.Act) ([]outbox.Act, error) { return acts, nil }
func (d *desk) End(_ context.Context, acts ...outbox.Act) error {
	d.acts = append(d.acts, acts...)
	return nil
}
func (d *desk) Acts(context.Context, outbox.ActFilter) ([]outbox.Act, error) { return d.acts, nil }
func (*desk) Diagnose(context.Context) ([]admin.Line, error)                 { return nil, nil }

// serve runs an API in which the header Role says what the actor may do.
func serve(t *testing.T) (*httptest.Server, *desk, *api.API) {
	t.Helper()
	d := new(desk)
	a, err := api.New(api.Config{
		Service: admin.New(admin.Config{Reader: d, State: d, Operator: d, Controls: d, Jobs: d, Audit: d, Doctor: d, Kinds: []string{"sms"},
			Policy: func(string) outbox.Policy { return outbox.Policy{} }}),
		Actor: func(r *http.Request, _ admin.Role) (admin.Actor, bool) {
			role := r.Header.Get("Role")
			return admin.Actor{Who: "ada", Via: "token", Roles: []admin.Role{admin.Role(role)}}, role != ""
		},
		CursorKey: []byte("0123456789abcdef"),
	})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(a.Handler())
	t.Cleanup(s.Close)
	return s, d, a
}

func ask(t *testing.T, s *httptest.Server, role admin.Role, method, path, body string) (status int, text string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Role", string(role))
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode == http.StatusUnprocessableEntity {
		var e struct{ Error struct{ Code, Msg string } }
		if err := json.Unmarshal(all, &e); err != nil || e.Error.Code == "" || e.Error.Msg == "" {
			t.Errorf("%s %s: a 422 without code and msg: %s", method, path, all)
		}
	}
	return resp.StatusCode, string(all)
}

// operation is what the description says of one operation.
type operation struct {
	ID   string `yaml:"operationId"`
	Role string `yaml:"x-role"`
	Body any    `yaml:"requestBody"`
}

func operations(t *testing.T, a *api.API) map[string]map[string]operation {
	t.Helper()
	data, err := a.OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Paths map[string]map[string]operation `yaml:"paths"`
	}
	if err := yaml.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	return doc.Paths
}

// Each operation of the description is tried with each role, and with none.
func TestRoleMatrix(t *testing.T) {
	s, _, a := serve(t)
	id := base64.RawURLEncoding.EncodeToString([]byte("order-7"))
	tried := 0
	for path, methods := range operations(t, a) {
		for method, op := range methods {
			if !slices.Contains(admin.Roles(), admin.Role(op.Role)) {
				t.Errorf("%s %s names no role", method, path)
			}
			url := strings.NewReplacer("{id}", id, "{kind}", "sms").Replace(path)
			for _, role := range append(admin.Roles(), "") {
				tried++
				status, text := ask(t, s, role, strings.ToUpper(method), url, `{"why":"a test"}`)
				switch {
				case role == "" && status != http.StatusUnauthorized:
					t.Errorf("%s without a role: %d %s", op.ID, status, text)
				case role != "" && (status == http.StatusForbidden) != (string(role) != op.Role):
					t.Errorf("%s with %s (needs %s): %d %s", op.ID, role, op.Role, status, text)
				case status >= 500:
					t.Errorf("%s with %s: %d %s", op.ID, role, status, text)
				}
			}
		}
	}
	if tried < 100 {
		t.Errorf("only %d were tried", tried)
	}
}

// What cannot be read is 400 or 415 in every operation: 422 is for the business alone.
func TestMalformedIsNoBusiness(t *testing.T) {
	s, _, a := serve(t)
	for path, methods := range operations(t, a) {
		for method, op := range methods {
			url := strings.NewReplacer("{id}", "b3JkZXItNw", "{kind}", "sms").Replace(path)
			if status, text := ask(t, s, admin.Role(op.Role), strings.ToUpper(method), url+"?nonsense=1", `{"why":"x"}`); status != http.StatusBadRequest {
				t.Errorf("%s with an unknown parameter: %d %s", op.ID, status, text)
			}
			if op.Body == nil {
				continue
			}
			for _, body := range []string{"", "{", `{"why":7}`, `{"wy":"x"}`, `[]`, `{"why":"x"}{}`} {
				if status, text := ask(t, s, admin.Role(op.Role), strings.ToUpper(method), url, body); status != http.StatusBadRequest {
					t.Errorf("%s with the body %s: %d %s", op.ID, body, status, text)
				}
			}
		}
	}
	for url, want := range map[string]int{
		"/intents?limit=0": 400, "/intents?limit=x": 400, "/intents?status=odd": 400, "/intents?since=yesterday": 400, "/intents?kind=a&kind=b": 400,
		"/intents/!": 400, "/intents/b3JkZXItNw": 422, "/jobs/x": 422, "/lanes/fax": 422, "/nothing": 404, "/overview": 200,
	} {
		if status, text := ask(t, s, admin.RoleRead, "GET", api.Prefix+url, ""); status != want {
			t.Errorf("GET %s: %d %s, want %d", url, status, text, want)
		}
	}
	if status, _ := ask(t, s, admin.RoleRead, "DELETE", api.Prefix+"/intents/b3JkZXItNw", ""); status != http.StatusMethodNotAllowed {
		t.Errorf("DELETE: %d", status)
	}
}

// A cursor is good for the list that it came from, and for no other.
func TestCursor(t *testing.T) {
	s, d, _ := serve(t)
	_, text := ask(t, s, admin.RoleRead, "GET", api.Prefix+"/intents?kind=sms", "")
	var page struct {
		Items []any
		Next  string
	}
	if err := json.Unmarshal([]byte(text), &page); err != nil || page.Next == "" || page.Items == nil || strings.Contains(page.Next, "position") {
		t.Fatalf("%v: %s", err, text)
	}
	if status, text := ask(t, s, admin.RoleRead, "GET", api.Prefix+"/intents?kind=sms&limit=7&after="+page.Next, ""); status != 200 || d.searches[len(d.searches)-1].After != "position" {
		t.Errorf("the next page: %d %s", status, text)
	}
	own := base64.RawURLEncoding.EncodeToString([]byte("elsewhere")) + page.Next[strings.Index(page.Next, "."):]
	for name, query := range map[string]string{"another list": "kind=email&after=" + page.Next, "written by hand": "kind=sms&after=" + own, "cut": "kind=sms&after=" + page.Next[:9]} {
		if status, text := ask(t, s, admin.RoleRead, "GET", api.Prefix+"/intents?"+query, ""); status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
}

func TestPauseIsRecorded(t *testing.T) {
	s, d, _ := serve(t)
	if status, text := ask(t, s, admin.RoleOperate, "POST", api.Prefix+"/lanes/sms/pause", `{"why":"maintenance"}`); status != 200 || !slices.Equal(d.paused, []string{"sms maintenance ada"}) {
		t.Errorf("got %d %s, paused %v", status, text, d.paused)
	}
	if len(d.acts) != 1 || d.acts[0].Op != "pause" || d.acts[0].Who != "ada" || d.acts[0].Outcome != outbox.ActDone {
		t.Errorf("the audit has %+v", d.acts)
	}
	for _, body := range []string{`{"why":"slower"}`, `{"why":"slower","rate":null}`, `{"why":"slower","rate":"5/s"}`} {
		if status, text := ask(t, s, admin.RoleOperate, "POST", api.Prefix+"/lanes/sms/rate", body); status != 400 || len(d.limited) != 0 {
			t.Errorf("a rate by %s: %d %s, %q", body, status, text, d.limited)
		}
	}
	if status, text := ask(t, s, admin.RoleOperate, "POST", api.Prefix+"/lanes/sms/rate", `{"why":"slower","rate":0.5}`); status != 200 || !strings.Contains(text, `"changed":true`) || !slices.Equal(d.limited, []string{"sms 0.5 slower ada"}) {
		t.Errorf("set a rate: %d %s, %q", status, text, d.limited)
	}
	if status, text := ask(t, s, admin.RoleOperate, "POST", api.Prefix+"/lanes/sms/rate", `{"why":"over","rate":0}`); status != 200 || !strings.Contains(text, `"changed":false`) || d.limited[1] != "sms off" {
		t.Errorf("take a rate back: %d %s, %q", status, text, d.limited)
	}
	if status, text := ask(t, s, admin.RoleOperate, "POST", api.Prefix+"/lanes/sms/pause", `{"why":" "}`); status != 422 || !strings.Contains(text, string(admin.ReasonMissing)) {
		t.Errorf("without a reason: %d %s", status, text)
	}
}

// What went wrong inside is the log's alone.
func TestErrorsShowNothing(t *testing.T) {
	s, d, _ := serve(t)
	for _, c := range []struct {
		err    error
		status int
	}{{fmt.Errorf("pa55word at mongo:27017: %w", context.DeadlineExceeded), 503}, {fmt.Errorf("pa55word"), 500}} {
		d.err = c.err
		if status, text := ask(t, s, admin.RoleRead, "GET", api.Prefix+"/intents?kind=sms", ""); status != c.status || strings.Contains(text, "pa55word") {
			t.Errorf("%v: %d %s", c.err, status, text)
		}
	}
}

const described = "../../docs/api/admin.yaml"

// The description that is checked in is that of this program: UPDATE=1 writes it anew.
func TestOpenAPIIsCurrent(t *testing.T) {
	_, _, a := serve(t)
	data, err := a.OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(described, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(described)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != string(data) {
		t.Errorf("%s is not current: run the test with UPDATE=1", described)
	}
}
