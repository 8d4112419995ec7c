// Package plan makes the schedule of faults of a run from a seed: what happens when, for how long and to whom. One seed
// always gives the same schedule; what it meets is as random as threads and sockets are.
//
// Seven tracks run beside each other: workers, nodes of the database, the network, the providers, locks, changes of
// schema, and what people do by hand. Within a track one fault follows another, so that none is undone by the next;
// between tracks they overlap as they like. Each track deals its faults from a shuffled deck, so that a short run
// meets many kinds and a long run meets all of them.
package plan

import (
	"math/rand/v2"
	"slices"
	"time"
)

// What can happen.
const (
	Kill   = "kill"   // SIGKILL of a worker, which is started again
	Term   = "term"   // SIGTERM of a worker, which is started again
	Freeze = "freeze" // SIGSTOP of a worker, and SIGCONT

	StepDown      = "step-down"      // of the primary
	KillPrimary   = "kill-primary"   // and start it again
	KillSecondary = "kill-secondary" // and start it again
	KillTwo       = "kill-two"       // no majority until they are started again
	PausePrimary  = "pause-primary"  // SIGSTOP and SIGCONT: it believes that it is the primary
	Rollback      = "rollback"       // the primary takes writes that no other gets, and dies; the others go on without them

	Cut      = "cut"       // connections end, and new ones are refused
	Slow     = "slow"      // everything arrives late
	Reset    = "reset"     // connections are reset in the middle
	HalfOpen = "half-open" // connections stay open, and nothing arrives

	Before  = "before"  // the provider fails before it acts
	After   = "after"   // the provider acts, and its answer is lost or wrong
	Storm   = "storm"   // the provider limits the rate
	Hang    = "hang"    // the provider answers late or never
	Replays = "replays" // Stripe stores a server error under the idempotency key
	Refuse  = "refuse"  // the provider refuses some requests as if the account were not allowed to make them

	HoldTargets = "hold-targets" // a business transaction holds the documents to which intents write back
	HoldIntents = "hold-intents" // a transaction cancels intents that become due, and commits late or never

	Modify = "collMod" // of the outbox and of the business documents
	Index  = "index"   // made and dropped again
	Behind = "behind"  // a change of schema waits behind a transaction, and everything else behind that

	Unlock = "unlock" // a person sets leased intents to pending
	Cancel = "cancel" // a person cancels pending intents, those that may have acted among them
)

// Tracks.
const (
	Workers   = "worker"
	Nodes     = "node"
	Network   = "network"
	Providers = "provider"
	Locks     = "locks"
	Schema    = "schema"
	Hands     = "hand"
)

// Where network faults are.
const (
	ToDatabase = "database" // between one worker and all members
	ToPrimary  = "primary"  // between one worker and the member that is the primary at that moment
	ToProvider = "provider" // between one worker and all providers
)

// Event is one fault.
type Event struct {
	At    time.Duration // since the start
	For   time.Duration // until it is undone
	Track string
	What  string
	Slot  int           // of workers and network: which worker
	Where string        // of network faults
	Late  time.Duration // of slow: by how much
	Up    bool          // of slow, reset and half-open: requests; else answers
	Seed  uint64        // of providers: who is hit
}

// Options say what a schedule may hold.
type Options struct {
	Length   time.Duration
	Slots    int  // workers
	Nodes    bool // members may be killed, and the network to them cut
	Lease    time.Duration
	Longest  time.Duration // lease of any kind
	Latency  time.Duration // the longest by which a provider's network may be slow
	DBLate   time.Duration // the longest by which the database's network may be slow
	Election time.Duration // the database's election timeout
}

type card struct {
	what, where      string
	least, most      time.Duration // For
	lateMin, lateMax time.Duration
	answers          bool // only answers are hit, not requests
}

// New makes a schedule, in the order of At. The last fault ends before o.Length does.
func New(seed uint64, o Options) []Event {
	var all []Event
	deal := func(n uint64, track string, firstMost, gapLeast, gapMost time.Duration, cards []card) {
		r := rand.New(rand.NewPCG(seed, n))
		var deck []card
		for at := between(r, firstMost/2, firstMost); ; {
			if len(deck) == 0 {
				deck = slices.Clone(cards)
				r.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
			}
			c := deck[0]
			deck = deck[1:]
			e := Event{At: at, For: between(r, c.least, c.most), Track: track, What: c.what, Where: c.where, Slot: r.IntN(o.Slots), Late: between(r, c.lateMin, c.lateMax), Up: r.IntN(2) == 0 && !c.answers, Seed: r.Uint64()}
			if e.At+e.For > o.Length {
				return
			}
			all = append(all, e)
			at += e.For + between(r, gapLeast, gapMost)
		}
	}
	const s = time.Second
	deal(1, Workers, 4*s, s, 4*s, []card{
		{what: Kill, least: s / 10, most: 2 * s}, {what: Kill, least: s / 10, most: 2 * s},
		{what: Term, least: s / 10, most: s}, {what: Term, least: s / 10, most: s},
		{what: Freeze, least: o.Lease, most: o.Lease + 3*s}, {what: Freeze, least: s, most: o.Lease}, {what: Freeze, least: o.Longest, most: o.Longest + 2*s},
	})
	deal(2, Providers, 3*s, s, 3*s, []card{
		{what: Before, least: s, most: 4 * s}, {what: After, least: s, most: 4 * s}, {what: After, least: s, most: 4 * s},
		{what: Storm, least: s, most: 2 * s}, {what: Hang, least: s, most: 3 * s}, {what: Replays, least: s, most: 2 * s},
		{what: Refuse, least: s, most: 3 * s},
	})
	network := []card{
		{what: Cut, where: ToProvider, least: s, most: 4 * s}, {what: HalfOpen, where: ToProvider, least: s, most: 4 * s}, {what: Reset, where: ToProvider, least: s, most: 3 * s},
		{what: Slow, where: ToProvider, least: 2 * s, most: 5 * s, lateMin: o.Latency / 4, lateMax: o.Latency},
	}
	if o.Nodes {
		for _, where := range []string{ToDatabase, ToPrimary} {
			network = append(network, card{what: Cut, where: where, least: s, most: 6 * s}, card{what: Reset, where: where, least: s, most: 4 * s}, card{what: HalfOpen, where: where, least: 2 * s, most: 8 * s})
		}
		network = append(network, card{what: Slow, where: ToDatabase, least: 5 * s, most: 9 * s, lateMin: s / 2, lateMax: o.DBLate / 2})
		// So slow that a claim is read when its lease is nearly over: it must not be sent any more.
		network = append(network, card{what: Slow, where: ToDatabase, least: 3 * o.DBLate, most: 4 * o.DBLate, lateMin: o.DBLate * 7 / 8, lateMax: o.DBLate, answers: true})
		deal(3, Nodes, 10*s, 6*s, 11*s, []card{
			{what: StepDown, least: s, most: 2 * s}, {what: KillPrimary, least: 2 * s, most: 6 * s}, {what: KillSecondary, least: s, most: 5 * s},
			{what: KillTwo, least: 4 * s, most: 9 * s}, {what: PausePrimary, least: o.Election + s, most: o.Election + 4*s}, {what: Rollback, least: s, most: o.Election - s/2},
		})
	}
	deal(4, Network, 5*s, 2*s, 5*s, network)
	deal(5, Locks, 3*s, s, 3*s, []card{
		{what: HoldTargets, least: s / 2, most: 4 * s}, {what: HoldTargets, least: 4 * s, most: o.Lease + 4*s}, {what: HoldIntents, least: 2 * s, most: o.Lease},
	})
	deal(6, Schema, 6*s, 3*s, 8*s, []card{
		{what: Modify, least: s / 10, most: s / 5}, {what: Index, least: s / 2, most: 2 * s}, {what: Behind, least: s, most: o.Lease / 3},
	})
	deal(7, Hands, 3*s, s, 3*s, []card{{what: Unlock, least: s / 10, most: s / 5}, {what: Cancel, least: s / 10, most: s / 5}})
	slices.SortStableFunc(all, func(a, b Event) int { return int(a.At - b.At) })
	return all
}

func between(r *rand.Rand, least, most time.Duration) time.Duration {
	if most <= least {
		return least
	}
	return least + time.Duration(r.Int64N(int64(most-least)))
}
