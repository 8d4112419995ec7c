package worker

import (
	"time"

	"github.com/outboxd/outboxd/dispatcher"
	"github.com/outboxd/outboxd/outbox"
)

// observers tells several what happened, in their order.
type observers []dispatcher.Observer

// Claimed tells all.
func (all observers) Claimed(kind string, n int, took time.Duration, err error) {
	for _, o := range all {
		o.Claimed(kind, n, took, err)
	}
}

// Called tells all.
func (all observers) Called(in *outbox.Intent, action outbox.Action, at time.Time) {
	for _, o := range all {
		o.Called(in, action, at)
	}
}

// Settled tells all.
func (all observers) Settled(kind string, s outbox.Settlement) {
	for _, o := range all {
		o.Settled(kind, s)
	}
}

// Wrote tells all.
func (all observers) Wrote(n int, took time.Duration, err error) {
	for _, o := range all {
		o.Wrote(n, took, err)
	}
}

// LeaseLost tells all.
func (all observers) LeaseLost(kind string) {
	for _, o := range all {
		o.LeaseLost(kind)
	}
}

// Noted tells all.
func (all observers) Noted(kind, code string) {
	for _, o := range all {
		o.Noted(kind, code)
	}
}

// unwatched is an observer that drops everything; what embeds it is told what it wants to know.
type unwatched struct{}

// Claimed drops it.
func (unwatched) Claimed(string, int, time.Duration, error) {}

// Called drops it.
func (unwatched) Called(*outbox.Intent, outbox.Action, time.Time) {}

// Settled drops it.
func (unwatched) Settled(string, outbox.Settlement) {}

// Wrote drops it.
func (unwatched) Wrote(int, time.Duration, error) {}

// LeaseLost drops it.
func (unwatched) LeaseLost(string) {}

// Noted drops it.
func (unwatched) Noted(string, string) {}

// claims tells the readiness how claims go.
type claims struct {
	unwatched
	ready *readiness
}

// Claimed tells the readiness.
func (c claims) Claimed(kind string, _ int, _ time.Duration, err error) { c.ready.claimed(kind, err) }
