package simulator

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"sync"
	"time"
)

const (
	postsAtOnce  = 16
	postTimeout  = 5 * time.Second
	postAttempts = 3
)

// outgoing posts webhooks and callbacks, each in a goroutine that close waits for.
type outgoing struct {
	sim    *Sim
	ctx    context.Context // ends with close; it belongs to the posts, which outlive the request they come from
	cancel context.CancelFunc
	client *http.Client
	slots  chan struct{}

	mu     sync.Mutex // guards closed against posts.Go
	closed bool
	posts  sync.WaitGroup
}

func newOutgoing(s *Sim) *outgoing {
	ctx, cancel := context.WithCancel(context.Background())
	return &outgoing{
		sim: s, ctx: ctx, cancel: cancel, slots: make(chan struct{}, postsAtOnce),
		client: &http.Client{Timeout: postTimeout, Transport: &http.Transport{MaxIdleConnsPerHost: postsAtOnce}},
	}
}

// message is one body to post.
type message struct {
	url, contentType string
	header           http.Header
	body             []byte
}

// post sends the messages one after another, after delay; each is tried a few times, since providers do so too.
func (o *outgoing) post(delay time.Duration, messages ...message) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	o.posts.Go(func() {
		if !o.sim.wait(delay) {
			return
		}
		select {
		case o.slots <- struct{}{}:
			defer func() { <-o.slots }()
		case <-o.ctx.Done():
			return
		}
		for _, m := range messages {
			for attempt := range postAttempts {
				if o.send(m) || !o.sim.wait(time.Duration(attempt+1)*100*time.Millisecond) {
					break
				}
			}
		}
	})
}

// send is true once the receiver has answered with 2xx.
func (o *outgoing) send(m message) bool {
	req, err := http.NewRequestWithContext(o.ctx, http.MethodPost, m.url, bytes.NewReader(m.body))
	if err != nil {
		return true // a URL that cannot be called is not worth another attempt
	}
	maps.Copy(req.Header, m.header)
	req.Header.Set("Content-Type", m.contentType)
	resp, err := o.client.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // read only so that the connection can be used again
	return resp.StatusCode/100 == 2
}

func (o *outgoing) close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.cancel()
	o.posts.Wait()
	o.client.CloseIdleConnections()
}
