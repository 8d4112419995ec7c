package main

import (
	"context"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/integration/chaos/check"
)

const (
	pulseEvery   = 50 * time.Millisecond
	pulseTimeout = 2 * time.Minute
	outage       = 500 * time.Millisecond // a longer time without a write is one
)

// pulse is a plain client that writes again and again, with the driver's own retries: when it is stuck, the database
// takes no writes from anybody.
type pulse struct {
	client *mongo.Client
	db     string

	mu   sync.Mutex
	last time.Time // of a write
	gaps []check.Span
}

func newPulse(s *stage) (*pulse, error) {
	client, err := s.connect()
	if err != nil {
		return nil, err
	}
	s.later(func() error { return s.disconnect(client) })
	return &pulse{client: client, db: s.db.Name(), last: time.Now()}, nil
}

// run writes until ctx ends.
func (p *pulse) run(ctx context.Context) {
	for ctx.Err() == nil {
		began := time.Now()
		within, cancel := context.WithTimeout(ctx, pulseTimeout)
		_, err := p.client.Database(p.db).Collection(marks).UpdateOne(within, bson.D{{Key: "_id", Value: "pulse"}},
			bson.D{{Key: "$inc", Value: bson.D{{Key: "n", Value: 1}}}}, options.UpdateOne().SetUpsert(true))
		cancel()
		now := time.Now()
		if err == nil {
			p.mu.Lock()
			if now.Sub(p.last) > outage {
				p.gaps = append(p.gaps, check.Span{From: p.last, To: now})
			}
			p.last = now
			p.mu.Unlock()
		}
		select {
		case <-ctx.Done():
		case <-time.After(pulseEvery - time.Since(began)):
		}
	}
}

// outages returns the times without a write so far.
func (p *pulse) outages() []check.Span {
	p.mu.Lock()
	defer p.mu.Unlock()
	gaps := append([]check.Span(nil), p.gaps...)
	if now := time.Now(); now.Sub(p.last) > outage {
		gaps = append(gaps, check.Span{From: p.last, To: now})
	}
	return gaps
}
