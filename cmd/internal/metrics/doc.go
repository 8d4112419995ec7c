// Package metrics counts what a worker does, for Prometheus.
//
// All metrics stand in one table, [Catalogue]: docs/metrics.md is generated from it, and alerts and dashboards are
// checked against it. Every name begins with outboxd_. Labels are bounded: kinds are those that outboxd has a provider
// for, everything else is "other"; codes are those of outbox.Codes. So no document can make a series. Nothing of an
// intent but its kind and its outcome is ever a label; its trace's id stands beside a measurement as an exemplar. Every
// series is there from the start, at 0.
//
// A [Metrics] is told by the dispatcher as its observer. The lanes of this worker answer at a scrape. What the database
// knows is asked for beside the scrapes, every few seconds. When it does not answer, the page shows what it last told,
// at once, and outboxd_database_up is 0.
package metrics
