package bench

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	readyTimeout = time.Minute      // of a process, from its start until it is connected
	stuckTimeout = 2 * time.Minute  // without any progress, a run is given up
	endTimeout   = 30 * time.Second // of a process, from the signal to its end
)

// crew is worker processes that serve one collection.
type crew struct {
	members []*member

	mu      sync.Mutex
	news    chan struct{} // one place: something was told
	calls   map[string]int64
	serving int
}

// member is one of them.
type member struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	stderr  bytes.Buffer
	ended   chan struct{}
	err     error // once ended
	ready   chan struct{}
	used    chan usage
	settled []progress // guarded by the crew's lock
	done    *summary   // once ended
}

// recruit starts worker processes on a collection and returns when all are connected. They serve at the word.
func (r *run) recruit(ctx context.Context, n int, collection string, args []string, environ ...string) (_ *crew, err error) {
	c := &crew{news: make(chan struct{}, 1), calls: make(map[string]int64)}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.dismiss())
		}
	}()
	for i := range n {
		all := append([]string{"bench-worker", "--collection", collection}, args...)
		if r.Profile != "" {
			all = append(all, "--profile", filepath.Join(r.Profile, fmt.Sprintf("%s-%dof%d.pprof", collection, i+1, n)))
		}
		m, err := c.start(r.Executable, all, r.environ(environ))
		if err != nil {
			return nil, err
		}
		c.members = append(c.members, m)
	}
	for _, m := range c.members {
		select {
		case <-m.ready:
		case <-m.ended:
			return nil, m.failure()
		case <-time.After(readyTimeout):
			return nil, fmt.Errorf("a worker process is not connected within %v", readyTimeout)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return c, nil
}

func (c *crew) start(executable string, args, environ []string) (*member, error) {
	m := &member{ended: make(chan struct{}), ready: make(chan struct{}), used: make(chan usage, 1)}
	m.cmd = exec.Command(executable, args...) // ended by a signal, in good order, not with a context
	m.cmd.Env, m.cmd.Stderr, m.cmd.SysProcAttr = environ, &m.stderr, ownGroup()
	in, err := m.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := m.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a worker process: %w", err)
	}
	m.in = in
	go func() { // waited for by its end, in dismiss
		defer close(m.ended)
		c.follow(m, out)
		m.err = m.cmd.Wait()
	}()
	return m, nil
}

// follow reads what a member tells until it says no more.
func (c *crew) follow(m *member, out io.Reader) {
	lines := json.NewDecoder(bufio.NewReaderSize(out, 1<<20))
	for {
		var l line
		if err := lines.Decode(&l); err != nil {
			return // its end is what counts
		}
		c.mu.Lock()
		switch {
		case l.Ready:
			close(m.ready)
		case l.Serving:
			c.serving++
		case l.Progress != nil:
			m.settled = append(m.settled, *l.Progress)
		case l.Usage != nil:
			m.used <- *l.Usage
		case l.Summary != nil:
			m.done = l.Summary
		}
		for _, call := range l.Calls {
			c.calls[call.ID] = call.At
		}
		c.mu.Unlock()
		select {
		case c.news <- struct{}{}:
		default:
		}
	}
}

// tell says a word to all.
func (c *crew) tell(word string) error {
	for _, m := range c.members {
		if _, err := io.WriteString(m.in, word+"\n"); err != nil {
			return errors.Join(fmt.Errorf("tell a worker process: %w", err), c.dismiss())
		}
	}
	return nil
}

// until waits for a condition, which is asked under the lock.
func (c *crew) until(ctx context.Context, what string, ok func() bool) error {
	for {
		c.mu.Lock()
		met := ok()
		c.mu.Unlock()
		if met {
			return nil
		}
		stuck := time.NewTimer(stuckTimeout)
		select {
		case <-c.news:
		case <-c.someEnded():
			stuck.Stop()
			return fmt.Errorf("wait until %s: %w", what, c.dismiss())
		case <-stuck.C:
			return fmt.Errorf("wait until %s: nothing happened for %v", what, stuckTimeout)
		case <-ctx.Done():
			stuck.Stop()
			return context.Cause(ctx)
		}
		stuck.Stop()
	}
}

// someEnded is closed if a member has ended before it should. Its output ends first, which is news.
func (c *crew) someEnded() <-chan struct{} {
	for _, m := range c.members {
		select {
		case <-m.ended:
			return m.ended
		default:
		}
	}
	return c.members[0].ended
}

// served waits until every member has looked for work once.
func (c *crew) served(ctx context.Context) error {
	return c.until(ctx, "every worker process serves", func() bool { return c.serving == len(c.members) })
}

// settle waits until all together have written n outcomes.
func (c *crew) settle(ctx context.Context, n int) error {
	return c.until(ctx, strconv.Itoa(n)+" outcomes are written", func() bool {
		sum := 0
		for _, m := range c.members {
			if k := len(m.settled); k > 0 {
				sum += m.settled[k-1].Settled
			}
		}
		return sum >= n
	})
}

// reached returns when n outcomes were written by all together.
func (c *crew) reached(n int) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	type step struct {
		at  int64
		add int
	}
	var steps []step
	for _, m := range c.members {
		before := 0
		for _, p := range m.settled {
			steps = append(steps, step{p.At, p.Settled - before})
			before = p.Settled
		}
	}
	slices.SortFunc(steps, func(a, b step) int { return cmp.Compare(a.at, b.at) })
	sum := 0
	for _, s := range steps {
		if sum += s.add; sum >= n {
			return s.at
		}
	}
	return 0
}

// usage asks the only member what it took so far.
func (c *crew) usage(ctx context.Context) (usage, error) {
	if err := c.tell(wordUsage); err != nil {
		return usage{}, err
	}
	m := c.members[0]
	select {
	case u := <-m.used:
		return u, nil
	case <-m.ended:
		return usage{}, m.failure()
	case <-ctx.Done():
		return usage{}, context.Cause(ctx)
	}
}

// dismiss ends all in good order and returns what went wrong with any. It may be called more than once.
func (c *crew) dismiss() error {
	for _, m := range c.members {
		select {
		case <-m.ended:
		default:
			_ = m.cmd.Process.Signal(syscall.SIGTERM) // one that is gone already is waited for below
		}
	}
	var errs []error
	for _, m := range c.members {
		select {
		case <-m.ended:
		case <-time.After(endTimeout):
			_ = m.cmd.Process.Kill() // then its end is a failure, which is reported below
			<-m.ended
		}
		_ = m.in.Close() // nobody reads it any more
		if m.err != nil || m.done == nil {
			errs = append(errs, m.failure())
		}
	}
	return errors.Join(errs...)
}

func (m *member) failure() error {
	<-m.ended
	//nolint:errorlint // The error is nil where the process ended by itself, too early.
	return fmt.Errorf("a worker process ended: %v: %s", m.err, bytes.TrimSpace(m.stderr.Bytes()))
}

// environ is the environment of a worker process: this one's without anything that configures outboxd, so that
// neither a real credential nor another database can be meant.
func (r *run) environ(more []string) []string {
	list := append(withoutConfiguration(r.Environ),
		"OUTBOXD_MONGODB_URI="+r.server.URI, "OUTBOXD_DATABASE="+r.db.Name(), "OUTBOXD_LISTEN=127.0.0.1:0",
		"SENDGRID_API_KEY=SG.bench")
	return append(list, more...)
}
