package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/outboxd/outboxd/integration/chaos/check"
	"github.com/outboxd/outboxd/integration/mongodb"
)

// slot is the place of one worker, with its own network. It has one process after another.
type slot struct {
	n         int
	stage     *stage
	env       []string
	database  []*wire // to the members; none on a given cluster
	providers []*wire
	clocks    *rand.Rand // nil: clocks are right

	mu      sync.Mutex
	busy    bool // something is being done to its worker
	closing bool
	now     *worker
	all     []*worker
	watch   sync.WaitGroup
}

// worker is one process of a slot.
type worker struct {
	*process
	serving chan struct{} // closed when it serves

	mu     sync.Mutex
	record check.Worker
	listen string // of its health and metrics
}

// newSlot makes a place with its own network. direct leaves the network out.
func (s *stage) newSlot(n int, direct bool, clocks *rand.Rand) (*slot, error) {
	sl := &slot{n: n, stage: s, clocks: clocks}
	uri, urls := s.uri, [3]string{s.urls.Stripe, s.urls.SendGrid, s.urls.Twilio}
	if !direct {
		var err error
		name := fmt.Sprintf("slot %d", n)
		if s.set != nil {
			addrs := make([]string, len(s.set.Members))
			for i, m := range s.set.Members {
				addrs[i] = m.Addr()
			}
			if sl.database, uri, err = s.net.members(name, addrs, mongodb.SetName); err != nil {
				return nil, err
			}
		}
		for i, base := range urls {
			var w *wire
			if w, urls[i], err = s.net.provider(fmt.Sprintf("%s provider %d", name, i), base); err != nil {
				return nil, err
			}
			sl.providers = append(sl.providers, w)
		}
	}
	sl.env = s.environment(uri, providers(urls[0], urls[1], urls[2])...)
	return sl, nil
}

// start starts a worker in the slot, and starts another when it ends without having been told to.
func (sl *slot) start(args ...string) (*worker, error) {
	w := &worker{serving: make(chan struct{})}
	env := slices.Clone(sl.env)
	if sl.clocks != nil {
		env = append(env, clockVariable+"="+drawClock(sl.clocks))
	}
	serving := sync.OnceFunc(func() { close(w.serving) })
	line := func(text string) {
		var entry struct{ Msg, Worker, Listen, Intent, Kind, Took string }
		if json.Unmarshal([]byte(text), &entry) != nil {
			return
		}
		if entry.Msg == "serving" {
			w.mu.Lock()
			w.record.Name, w.listen = entry.Worker, entry.Listen
			w.mu.Unlock()
			serving()
		}
		if took, err := time.ParseDuration(entry.Took); err == nil && entry.Intent != "" && took > callTimeout {
			w.mu.Lock()
			w.record.Calls = append(w.record.Calls, check.Call{ID: entry.Intent, Kind: entry.Kind, Told: time.Now(), Took: took})
			w.mu.Unlock()
		}
	}
	w.record = check.Worker{Slot: sl.n, Started: time.Now()}
	p, err := startProcess(sl.stage.program, append([]string{"worker"}, args...), env, filepath.Join(sl.stage.dir, fmt.Sprintf("worker-%d.log", sl.n)), false, line)
	if err != nil {
		return nil, err
	}
	w.process = p
	sl.mu.Lock()
	defer sl.mu.Unlock()
	sl.all = append(sl.all, w)
	if sl.closing { // while it was being started
		return w, w.end("kill")
	}
	sl.now = w
	sl.watch.Go(func() { sl.attend(w, args) })
	return w, nil
}

// attend notes a worker's end. One that was not told to end is replaced, as a supervisor would do.
func (sl *slot) attend(w *worker, args []string) {
	<-w.ended
	w.mu.Lock()
	w.record.Ended, w.record.Code = w.at, w.code
	told := w.record.Told
	w.mu.Unlock()
	if told != "" {
		return
	}
	time.Sleep(300 * time.Millisecond)
	sl.mu.Lock()
	closing := sl.closing
	sl.mu.Unlock()
	if !closing {
		_, _ = sl.start(args...) // what cannot be started leaves its intents waiting, which the judge sees
	}
}

// take reserves the slot's worker for one fault; false means that another is at work there.
func (sl *slot) take() bool {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	if sl.busy || sl.closing {
		return false
	}
	sl.busy = true
	return true
}

func (sl *slot) free() {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	sl.busy = false
}

func (sl *slot) current() *worker {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	return sl.now
}

// end tells the worker to end, by "kill" or "term", and waits until it has.
func (w *worker) end(how string) error {
	select {
	case <-w.ended: // by itself, which stays to be explained
		return nil
	default:
	}
	w.mu.Lock()
	w.record.Told = how
	w.mu.Unlock()
	if how == "kill" {
		err := w.signal(syscall.SIGKILL)
		<-w.ended
		return err
	}
	return w.stop(drain + stopTimeout)
}

// freeze stops the worker without its notice; the function that it returns lets it run on.
func (w *worker) freeze() (thaw func() error, err error) {
	from := time.Now()
	if err := w.signal(syscall.SIGSTOP); err != nil {
		return nil, err
	}
	return func() error {
		err := w.signal(syscall.SIGCONT)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.record.Frozen = append(w.record.Frozen, check.Span{From: from, To: time.Now()})
		return err
	}, nil
}

// close ends the slot's worker in good order.
func (sl *slot) close() error {
	sl.mu.Lock()
	sl.closing = true
	w := sl.now
	sl.mu.Unlock()
	var err error
	if w != nil {
		err = w.end("term")
	}
	sl.watch.Wait()
	return err
}

// records are those of all the slot's workers.
func (sl *slot) records() []check.Worker {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	var list []check.Worker
	for _, w := range sl.all {
		w.mu.Lock()
		r := w.record
		select {
		case <-w.ended: // noted by attend, which may not have come to it
			r.Ended, r.Code = w.at, w.code
		default:
		}
		list = append(list, r)
		w.mu.Unlock()
	}
	return list
}

// clear mends the slot's network.
func (sl *slot) clear(ctx context.Context) error {
	var errs []error
	for _, w := range slices.Concat(sl.database, sl.providers) {
		errs = append(errs, w.mend(ctx))
	}
	return errors.Join(errs...)
}
