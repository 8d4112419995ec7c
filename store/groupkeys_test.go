package store

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// A view reads as many groups at once as it may, each once, and no more after an error.
func TestEachGroup(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const groups = 50
		var now, calls [groups]atomic.Int64
		var reading atomic.Int64
		free := make(chan struct{})
		ended := make(chan error)
		go func() {
			ended <- eachGroup(t.Context(), make([]groupKey, groups), func(_ context.Context, i int) error {
				calls[i].Add(1)
				now[i].Store(reading.Add(1))
				<-free
				reading.Add(-1)
				return nil
			})
		}()
		synctest.Wait()
		if n := reading.Load(); n != groupsAtOnce {
			t.Errorf("%d groups are read at once, want %d", n, groupsAtOnce)
		}
		close(free)
		if err := <-ended; err != nil {
			t.Errorf("eachGroup: %v", err)
		}
		for i := range calls {
			if n := calls[i].Load(); n != 1 || now[i].Load() > groupsAtOnce {
				t.Errorf("group %d was read %d times, as the %dth at once", i, n, now[i].Load())
			}
		}
	})
	broken := errors.New("broken")
	var calls atomic.Int64
	err := eachGroup(t.Context(), make([]groupKey, 1000), func(context.Context, int) error { calls.Add(1); return broken })
	if !errors.Is(err, broken) || calls.Load() > groupsAtOnce {
		t.Errorf("%v after %d calls, want the error after at most %d", err, calls.Load(), groupsAtOnce)
	}
}
