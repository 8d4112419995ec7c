package page

import (
	"errors"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outboxd/outboxd/admin"
)

// However many watch a view, it is read once every two seconds. Who may see something else does not get it.
func TestUpdatesShareWhatWasRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &Page{polls: polls{seen: make(map[string]*poll)}}
		reads := 0
		ask := func(update bool, err error, kinds ...string) {
			r := httptest.NewRequest("GET", "/", nil)
			if update {
				r.Header.Set("HX-Request", "true")
			}
			_, _ = polled(&call{Request: r, page: p, path: "/", actor: admin.Actor{Kinds: kinds}}, func() (int, error) {
				time.Sleep(100 * time.Millisecond)
				reads++
				return reads, err
			})
		}
		want := func(n int, what string) {
			t.Helper()
			if reads != n {
				t.Errorf("%s: read %d times, want %d", what, reads, n)
			}
		}
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() { ask(true, nil) })
		}
		all.Wait()
		want(1, "fifty at once")
		ask(true, nil, "sms")
		want(2, "somebody with other kinds")
		ask(false, nil)
		want(3, "a whole page")
		time.Sleep(freshFor)
		ask(true, errors.New("away"))
		ask(true, nil)
		want(5, "after an error")
	})
}
