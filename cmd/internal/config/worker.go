package config

import (
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/outboxd/outboxd/dispatcher"
	"github.com/outboxd/outboxd/outbox"
)

// Defaults of a worker.
const (
	DefaultListen = "127.0.0.1:8425"
	DefaultDrain  = "30s"
	DefaultWithin = "0s"
)

// variableEmailEvents names the collection of the Event Webhook's entries.
const variableEmailEvents = "OUTBOXD_EMAIL_EVENTS"

// defaultRetention is how long intents are kept that ended well.
const defaultRetention = 168 * time.Hour

// Retention is how long intents in a final state are kept. Dead letters are kept for ever.
type Retention struct{ Done, Cancelled time.Duration }

// Policies are what the file of policies says, and its defaults.
type Policies struct {
	Lanes     []Lane // of every kind
	Retention Retention
	WriteBack []string // collections that write_back may name
	Kinds     []string // that other programs serve, for the collection's validator
	Logs      dispatcher.Logs
	admin     adminKeys
}

// Policy returns a kind's policy. A kind that this outboxd does not know has that of the kinds without any safety.
func (p Policies) Policy(kind string) outbox.Policy {
	i := slices.IndexFunc(p.Lanes, func(l Lane) bool { return l.Kind == kind })
	if i < 0 {
		policy := p.Lanes[0].Policy
		policy.AsksFirst, policy.OnAmbiguous = false, outbox.Park
		return policy
	}
	return p.Lanes[i].Policy
}

// Worker is the configuration of `outboxd worker`.
type Worker struct {
	Policies
	Mongo     Mongo
	Providers Providers
	// EmailEvents is the collection that holds entries of SendGrid's Event Webhook; empty: there is none.
	EmailEvents string
	Lanes       []Lane        // of the kinds to serve, each with its provider configured
	Unserved    []string      // kinds that are not served because their provider has no credentials
	Listen      string        // of health and metrics
	Drain       time.Duration // for calls to end after the first signal
	Within      time.Duration // with --until-empty
}

// LoadWorker reads the configuration of a worker.
func LoadWorker(src Source) (Worker, error) {
	r := &reader{Source: src}
	mongo, mongoErr := LoadMongo(src)
	w := Worker{
		Mongo:     mongo,
		Providers: r.providers(),
		Listen:    r.address(setting{"listen", "OUTBOXD_LISTEN", DefaultListen}),
		Drain:     r.duration(setting{"drain", "OUTBOXD_DRAIN", DefaultDrain}, 0),
		Within:    r.duration(setting{"within", "", DefaultWithin}, 0),
	}
	w.EmailEvents = r.emailEvents(mongo)
	if _, given := src.Flags["within"]; given && src.Flags["until-empty"] != "true" {
		r.problems.add("flag --within", "means nothing without --until-empty")
	}
	w.Policies = r.policies()
	w.Lanes, w.Unserved = r.served(w.Providers, w.Policies.Lanes)
	return w, Join(mongoErr, r.problems.orNil())
}

// emailEvents returns the collection of the Event Webhook's entries, empty if none is named.
func (r *reader) emailEvents(m Mongo) string {
	name := r.Env(variableEmailEvents)
	switch where := "variable " + variableEmailEvents; {
	case name == "":
	case !collectionName(name):
		r.problems.add(where, "%v cannot be a collection's name", quoted(name))
	case name == m.Collection:
		r.problems.add(where, "%v is the collection of the intents", quoted(name))
	}
	return name
}

// LoadPolicies reads the policies alone, for commands that call no provider.
func LoadPolicies(src Source) (Policies, error) {
	r := &reader{Source: src}
	p := r.policies()
	return p, r.problems.orNil()
}

func (r *reader) policies() Policies {
	p := Policies{Lanes: DefaultLanes(), Retention: Retention{Done: defaultRetention, Cancelled: defaultRetention}, admin: defaultAdmin()}
	pointers := make([]*Lane, len(p.Lanes))
	for i := range p.Lanes {
		pointers[i] = &p.Lanes[i]
	}
	path, where := r.text(setting{"config", "OUTBOXD_CONFIG", ""})
	f := &file{name: "defaults", problems: &r.problems}
	if path != "" {
		f = readFile(path, where, &r.problems, pointers, &p)
	}
	for _, l := range p.Lanes {
		f.check(l)
	}
	if p.Logs.Successes < 0 {
		f.bad("logs.successes", "is %d, must not be negative", p.Logs.Successes)
	}
	f.kept("retention.done", p.Retention.Done)
	f.kept("retention.cancelled", p.Retention.Cancelled)
	return p
}

// kept checks how long something is kept.
func (f *file) kept(key string, d time.Duration) {
	if d <= 0 {
		f.bad(key, "is %v, must be above 0", d)
	}
}

// served splits the lanes into those to serve and the kinds that lack credentials.
func (r *reader) served(p Providers, lanes []Lane) (serve []Lane, unserved []string) {
	var wanted []string
	if text, given := r.Flags["kinds"]; given {
		for kind := range strings.SplitSeq(text, ",") {
			kind = strings.TrimSpace(kind)
			switch {
			case !slices.ContainsFunc(lanes, func(l Lane) bool { return l.Kind == kind }):
				r.problems.add("flag --kinds", "%v is no kind; there are %s", quoted(kind), strings.Join(kinds(lanes), ", "))
			case p.Missing(kind) != "":
				r.problems.add("flag --kinds", "%s has no provider: set %s", kind, p.Missing(kind))
			}
			wanted = append(wanted, kind)
		}
	}
	for _, l := range lanes {
		switch {
		case p.Missing(l.Kind) != "":
			unserved = append(unserved, l.Kind)
		case wanted == nil || slices.Contains(wanted, l.Kind):
			serve = append(serve, l)
		}
	}
	if p == (Providers{}) {
		r.problems.add("providers", "none is configured; set %s, %s, or %s and %s",
			VariableStripe, VariableSendGrid, VariableTwilioSID, VariableTwilioToken)
	}
	return serve, unserved
}

func kinds(lanes []Lane) []string {
	var all []string
	for _, l := range lanes {
		all = append(all, l.Kind)
	}
	return all
}

// address returns a setting that is a TCP address to listen on.
func (r *reader) address(s setting) string {
	value, where := r.text(s)
	if value == "" {
		return ""
	}
	if !tcpAddress(value) {
		r.problems.add(where, "%v is no address to listen on; write one like %s", quoted(value), DefaultListen)
	}
	return value
}

func tcpAddress(value string) bool {
	_, port, err := net.SplitHostPort(value)
	_, portErr := strconv.ParseUint(port, 10, 16)
	return err == nil && portErr == nil
}
