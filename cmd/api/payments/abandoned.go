package payments

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

const (
	killEvery = 200 * time.Millisecond
	// killFor is longer than a server keeps a transaction that nobody ends (transactionLifetimeLimitSeconds, 60 s).
	killFor = 90 * time.Second
)

// abandoned ends the transactions of which a server that did not answer knows nothing yet: neither the driver's abort
// nor anything else reached it. Until it ends them, nobody can use their idempotency keys, for up to a minute after it
// answers again. A session stays out of the driver's pool until then, so that nobody else's transaction is ended with
// it.
type abandoned struct {
	client *mongo.Client
	ctx    context.Context // no request's: it ends with the Service
	close  context.CancelFunc

	mu       sync.Mutex
	sessions map[*mongo.Session]time.Time // since when
	running  sync.WaitGroup
}

func newAbandoned(client *mongo.Client) *abandoned {
	a := &abandoned{client: client, sessions: make(map[*mongo.Session]time.Time)}
	a.ctx, a.close = context.WithCancel(context.Background())
	return a
}

// add takes a session whose transaction may be open on the server.
func (a *abandoned) add(session *mongo.Session) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sessions[session] = time.Now()
	if len(a.sessions) == 1 && a.ctx.Err() == nil {
		a.running.Go(a.run)
	}
}

// stop leaves what is left to the server.
func (a *abandoned) stop() {
	a.mu.Lock()
	a.close()
	a.mu.Unlock()
	a.running.Wait()
}

// run asks the server until it has ended them all.
func (a *abandoned) run() {
	tick := time.NewTicker(killEvery)
	defer tick.Stop()
	for {
		select {
		case <-a.ctx.Done():
			return
		case <-tick.C:
		}
		a.mu.Lock()
		list := slices.Collect(maps.Keys(a.sessions))
		a.mu.Unlock()
		ended := a.kill(list)
		a.mu.Lock()
		for _, session := range list {
			if ended || time.Since(a.sessions[session]) > killFor {
				delete(a.sessions, session)
				endSession(a.ctx, session)
			}
		}
		left := len(a.sessions)
		a.mu.Unlock()
		if left == 0 {
			return
		}
	}
}

// kill reports whether the server has ended the sessions. Everybody may end their own.
func (a *abandoned) kill(list []*mongo.Session) bool {
	ctx, cancel := context.WithTimeout(a.ctx, ClientTimeout)
	defer cancel()
	ids := bson.A{}
	for _, session := range list {
		ids = append(ids, session.ID())
	}
	return a.client.Database("admin").RunCommand(ctx, bson.D{{Key: "killSessions", Value: ids}}).Err() == nil
}

// endSession gives a session back. An abort that gets no answer is the server's to make.
func endSession(ctx context.Context, session *mongo.Session) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	session.EndSession(ctx)
}
