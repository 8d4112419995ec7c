// Package metrics counts what a worker does, for Prometheus.
//
// Every name begins with outboxd_. Labels are bounded: kinds are those that outboxd has a provider for, everything else
// is "other"; codes are those of outbox.Codes. So no document can make a series. Nothing of an intent but its kind and
// its outcome is ever a label.
//
// A [Metrics] is told by the dispatcher as its observer. At a scrape it asks for the rest. The lanes of this worker
// answer at once. The age of the oldest due intent comes from the database, which is asked at most every few seconds,
// for a bounded time. When the database does not answer, the page comes without those series and outboxd_queue_up is
// 0.
package metrics
