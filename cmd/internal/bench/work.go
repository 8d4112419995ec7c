package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/pprof"
	"sync"
	"time"

	"github.com/outboxd/outboxd/cmd/internal/config"
	"github.com/outboxd/outboxd/cmd/internal/worker"
	"github.com/outboxd/outboxd/dispatcher"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store"
)

// tellEvery is how often a worker process tells its progress.
const tellEvery = 5 * time.Millisecond

// WorkOptions say how one worker process of a run works.
type WorkOptions struct {
	Config  config.Worker
	Slots   int    // of each lane; 0: as configured
	Trace   bool   // tell of each call of the provider
	Real    bool   // call the real providers, not the one that does nothing
	Profile string // a file for a profile of the processor's time; empty: none is made
	Connect func(context.Context, store.Options) (*store.Store, func(), error)
	In      io.Reader
	Out     io.Writer
}

// Work is one worker process of a run. It connects, waits for the word, and serves until a signal or the end of its
// input. Its log is written as a worker's is, to nowhere.
func Work(ctx context.Context, o WorkOptions) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	defer null.Close()
	w := &work{WorkOptions: o, out: json.NewEncoder(o.Out), start: make(chan struct{}), ended: make(chan struct{}), news: make(chan struct{}, 1)}
	go w.listen(cancel) // ends with the process's input, which nobody can end from here
	if o.Profile != "" {
		file, err := os.Create(o.Profile)
		if err != nil {
			return fmt.Errorf("write the profile: %w", err)
		}
		defer file.Close()
		if err := pprof.StartCPUProfile(file); err != nil {
			return fmt.Errorf("write the profile: %w", err)
		}
		defer pprof.StopCPUProfile()
	}
	var telling sync.WaitGroup
	telling.Go(w.tell)

	options := worker.Options{
		Config: o.Config, Logger: slog.New(slog.NewJSONHandler(null, nil)), Observer: w, Version: "bench",
		Connect: w.connect,
		Remains: func([]worker.Remainder) error { return nil },
	}
	for i := range options.Config.Lanes {
		l := &options.Config.Lanes[i]
		if o.Slots > 0 {
			l.Concurrency = o.Slots
		}
		l.Rate, l.RateText = 0, ""
	}
	if !o.Real {
		options.Provider = func(string) dispatcher.Provider { return w }
	}
	err = worker.Run(ctx, options)
	close(w.ended)
	telling.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done.Usage = used()
	w.say(line{Summary: &w.done})
	return errors.Join(err, w.broken)
}

// work is the process's state: it observes the dispatcher, and is the provider that does nothing.
type work struct {
	WorkOptions
	start chan struct{} // closed at the word
	ended chan struct{} // closed when the worker has ended

	mu      sync.Mutex
	out     *json.Encoder
	broken  error // what was said and not heard
	done    summary
	serving bool
	settled int
	told    int
	calls   []callAt
	news    chan struct{} // holds one sign that there is something to tell
}

// say writes a line. It is called under the lock.
func (w *work) say(l line) {
	if err := w.out.Encode(l); err != nil && w.broken == nil {
		w.broken = fmt.Errorf("tell the run: %w", err)
	}
}

// connect opens the outbox and waits for the word.
func (w *work) connect(ctx context.Context, o store.Options) (*store.Store, func(), error) {
	s, leave, err := w.Connect(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	w.mu.Lock()
	w.say(line{Ready: true})
	w.mu.Unlock()
	select {
	case <-w.start:
		return s, leave, nil
	case <-ctx.Done():
		leave()
		return nil, nil, context.Cause(ctx)
	}
}

// listen follows what the run says, and ends the worker when it says no more.
func (w *work) listen(end context.CancelCauseFunc) {
	begin := sync.OnceFunc(func() { close(w.start) })
	for words := bufio.NewScanner(w.In); words.Scan(); {
		switch words.Text() {
		case wordGo:
			begin()
		case wordUsage:
			w.mu.Lock()
			w.say(line{Usage: new(used())})
			w.mu.Unlock()
		}
	}
	end(errors.New("the run has ended"))
}

// tell tells the progress and the calls soon after there are any, until the worker has ended. Without any it does
// nothing, since an idle worker is measured as well.
func (w *work) tell() {
	for last := false; !last; {
		select {
		case <-w.news:
		case <-w.ended:
			last = true
		}
		if !last {
			select {
			case <-time.After(tellEvery):
			case <-w.ended:
				last = true
			}
		}
		w.mu.Lock()
		if w.settled != w.told {
			w.told = w.settled
			w.say(line{Progress: &progress{At: time.Now().UnixNano(), Settled: w.settled}})
		}
		if len(w.calls) > 0 {
			w.say(line{Calls: w.calls})
			w.calls = w.calls[:0]
		}
		w.mu.Unlock()
	}
}

// Claimed notes how long a claim took.
func (w *work) Claimed(_ string, n int, took time.Duration, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil && !w.serving {
		w.serving = true
		w.say(line{Serving: true})
	}
	if n == 0 {
		return
	}
	if w.done.First == 0 {
		w.done.First = time.Now().Add(-took).UnixNano()
	}
	w.done.Claims = append(w.done.Claims, took)
	w.done.Claimed += n
}

// Settled counts an outcome.
func (w *work) Settled(_ string, s outbox.Settlement) {
	if s.Decision.Status != outbox.StatusDone {
		return
	}
	w.mu.Lock()
	w.settled++
	w.mu.Unlock()
	w.sign()
}

func (w *work) sign() {
	select {
	case w.news <- struct{}{}:
	default:
	}
}

// Noted has nothing to count: the intents of a benchmark bring nothing along.
func (w *work) Noted(string, string) {}

// Called drops it: the call itself is timed.
func (w *work) Called(*outbox.Intent, outbox.Action, time.Time) {}

// Wrote drops it.
func (w *work) Wrote(int, time.Duration, error) {}

// LeaseLost counts an outcome that was not written.
func (w *work) LeaseLost(string) {
	w.mu.Lock()
	w.done.Lost++
	w.mu.Unlock()
}

// Deliver does nothing, at once.
func (w *work) Deliver(_ context.Context, in *outbox.Intent, _ func(context.Context, outbox.Progress) error) (outbox.Receipt, error) {
	id := in.ID.String()
	if w.Trace {
		at := time.Now().UnixNano()
		w.mu.Lock()
		w.calls = append(w.calls, callAt{id, at})
		w.mu.Unlock()
		w.sign()
	}
	return outbox.Receipt{Provider: "bench", ID: id, Status: "accepted"}, nil
}

// LookUp finds nothing, as nothing was done.
func (w *work) LookUp(context.Context, *outbox.Intent) (outbox.Answer, error) {
	return outbox.Answer{}, nil
}
