package admin

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/outboxd/outboxd/outbox"
)

// Moment is one entry of an intent's timeline.
type Moment struct {
	At   time.Time
	Last time.Time // of several like it, folded: when the last was; zero: it is one
	N    int       // how many were folded; 0: it is one
	What string    // "inserted", "due", "attempt", "lookup", "retry", "resolve", "cancel_at_provider", "done", "dead", "cancelled", …
	Text string    // in a sentence

	Attempt                                     int
	Took                                        time.Duration
	Outcome, Code, ProviderCode, RequestID, Ref string
	HTTPStatus                                  int
	Worker, By, Why, Job                        string
}

// Link leads to what a provider shows.
type Link struct{ Text, URL string }

// Choice is something that can be done with an intent, or the reason why not.
type Choice struct {
	Op      string // retry, resolve, cancel, discard, reveal
	Allowed bool
	Code    Code   // of what is in the way
	Why     string // what is in the way
}

// Shown is one intent as people see it, masked.
type Shown struct {
	Row
	Due       time.Time // zero: it is final
	Since     time.Time // since when it is in doubt; zero: it is not
	Next      outbox.Forecast
	Timeline  []Moment
	Dropped   int // records that history no longer holds
	Remedy    string
	Message   string // of last_error
	Payload   any    // masked: keys, and values by their type
	Links     []Link
	Parent    string   // the intent that this one follows; empty: none
	FollowUps []string // the names of what follows it, whether or not it was written yet
	WriteBack string   // "orders/7"; empty: none
	Problems  []string // what breaks the contract
	TraceID   string
	Result    outbox.Receipt
	Choices   []Choice
	Acts      []outbox.Act // the newest first; of an actor without the role operate only their own
}

// Show returns one intent, masked, by the text that a person means it by.
func (s *Service) Show(ctx context.Context, a Actor, name string) (Shown, error) {
	in, err := s.look(ctx, a, RoleRead, name)
	if err != nil {
		return Shown{}, err
	}
	lanes, err := s.State.Lanes(ctx)
	if err != nil {
		return Shown{}, err
	}
	now := s.State.Now()
	policy := s.Policy(in.Kind)
	view := Shown{Row: s.row(in), Next: outbox.Foresee(in.Intent, policy, lanes[in.Kind], now), Timeline: timeline(in.Intent),
		Payload: Mask(in.Document["payload"]), Links: links(in.Intent), Message: lastError(in.Intent, "message"), Choices: s.choices(a, in.Intent, policy, now)}
	if !in.Status.Final() {
		view.Due, view.Since = in.DueAt, in.AmbiguousAt
	}
	if in.Status == outbox.StatusDead {
		for _, known := range outbox.Codes() {
			if known.Code == view.Code {
				view.Remedy = known.Remedy
			}
		}
	}
	if n, ok := in.Document["dropped"].(int64); ok {
		view.Dropped = int(n)
	}
	result, _ := in.Document["result"].(map[string]any)
	view.Result = outbox.Receipt{Provider: textOf(result["provider"]), ID: textOf(result["id"]), Status: textOf(result["status"])}
	if parts := strings.Split(in.Trace.Parent, "-"); len(parts) == 4 {
		view.TraceID = parts[1]
	}
	if w := in.WriteBack; w != nil {
		view.WriteBack = fmt.Sprintf("%s/%v", w.Collection, w.ID)
	}
	for _, p := range in.Problems {
		view.Problems = append(view.Problems, p.String())
	}
	view.Parent, view.FollowUps = family(in.Intent)
	filter := outbox.ActFilter{On: in.Name}
	if !a.Has(RoleOperate) {
		filter.Who = a.Who
	}
	view.Acts, err = s.Audit.Acts(ctx, filter)
	return view, err
}

// look reads an intent that the actor may touch.
func (s *Service) look(ctx context.Context, a Actor, r Role, name string) (outbox.Snapshot, error) {
	if err := s.allow(a, r, ""); err != nil {
		return outbox.Snapshot{}, err
	}
	in, err := s.Reader.Look(ctx, name)
	if err != nil {
		return outbox.Snapshot{}, business(err)
	}
	return in, s.allow(a, r, in.Kind)
}

func textOf(v any) string {
	text, _ := v.(string)
	return text
}

// choices says what can be done with the intent, by the same rules that doing it asks.
func (s *Service) choices(a Actor, in *outbox.Intent, p outbox.Policy, now time.Time) []Choice {
	_, retry := outbox.RetryDead(in, p, a.Has(RoleApprove), now)
	_, resolve := outbox.Resolve(in, outbox.PersonVerdict{Why: "?", By: a.Who}, p, now)
	list := []struct {
		op   string
		role Role
		err  error
	}{
		{"retry", RoleOperate, retry}, {"resolve", RoleOperate, resolve}, {"cancel", RoleOperate, outbox.Cancel(in, p)},
		{"discard", RoleOperate, outbox.Discard(in, p)}, {"reveal", RoleReveal, nil},
	}
	choices := make([]Choice, len(list))
	for i, c := range list {
		err := cmp.Or(s.allow(a, c.role, in.Kind), business(c.err))
		choices[i] = Choice{Op: c.op, Allowed: err == nil}
		if err != nil {
			choices[i].Code, choices[i].Why = Code(codeOf(err)), err.Error()
		}
	}
	return choices
}

// timeline returns an intent's life, the oldest first.
func timeline(in *outbox.Intent) []Moment {
	var list []Moment
	add := func(at time.Time, what, text string) {
		if !at.IsZero() {
			list = append(list, Moment{At: at, What: what, Text: text})
		}
	}
	created, _ := in.Document["created_at"].(time.Time)
	add(created, "inserted", "the producer inserted it")
	add(in.FirstDueAt, "due", "due for the first time")
	for _, r := range in.History {
		m := Moment{At: r.At, N: r.N, What: cmp.Or(string(r.What), string(outbox.WhatAttempt)), Attempt: r.Attempt, Took: r.Took, Outcome: string(r.Outcome),
			Code: r.Code, ProviderCode: r.ProviderCode, RequestID: r.RequestID, Ref: r.Ref, HTTPStatus: r.HTTPStatus, Worker: r.Worker,
			By: r.By, Why: r.Why, Job: r.Job}
		if r.N > 0 {
			m.At, m.Last = r.First, r.Last
		}
		m.Text = momentText(m)
		list = append(list, m)
	}
	if in.Status == outbox.StatusLeased {
		add(in.Lease.At, "claimed", "claimed by "+in.Lease.Owner)
	}
	switch at := ended(in); in.Status {
	case outbox.StatusDone:
		add(at, "done", "done")
	case outbox.StatusDead:
		add(at, "dead", "dead letter: "+string(in.DeadReason))
	case outbox.StatusCancelled:
		add(at, "cancelled", "cancelled")
	}
	slices.SortStableFunc(list, func(a, b Moment) int {
		if a.At.IsZero() || b.At.IsZero() { // of an attempt whose lease ran out nobody knows the instant
			return 0
		}
		return a.At.Compare(b.At)
	})
	return list
}

func momentText(m Moment) string {
	answer := cmp.Or(m.Code, m.Outcome)
	if m.ProviderCode != "" {
		answer += " (" + m.ProviderCode + ")"
	}
	switch outbox.What(m.What) {
	case outbox.WhatAttempt:
		if m.Attempt == 0 {
			return "a call that was given back: " + answer
		}
		return fmt.Sprintf("attempt %d: %s", m.Attempt, answer)
	case outbox.WhatLookUp:
		if m.N > 1 {
			return fmt.Sprintf("%d look-ups: %s", m.N, answer)
		}
		return "look-up: " + answer
	case outbox.WhatRetry:
		return "made pending again by " + cmp.Or(m.By, "somebody")
	case outbox.WhatResolve:
		return "answered by " + cmp.Or(m.By, "somebody")
	case outbox.WhatCancelAtProvider:
		return "the unfinished object was cancelled at the provider"
	case outbox.WhatDiscard:
		return "discarded by " + cmp.Or(m.By, "somebody")
	default:
		return m.What
	}
}

// family returns the names of an intent's parent and of its follow-ups (contract, "Follow-ups").
func family(in *outbox.Intent) (parent string, followUps []string) {
	id := in.ID.String()
	for event, list := range map[string][]map[string]any{"done": in.OnDone, "dead": in.OnDead} {
		for i := range list {
			followUps = append(followUps, fmt.Sprintf("%s:%s:%d", id, event, i))
		}
	}
	slices.Sort(followUps)
	parts := strings.Split(id, ":")
	if n := len(parts); n > 2 && (parts[n-2] == "done" || parts[n-2] == "dead") {
		parent = strings.Join(parts[:n-2], ":")
	}
	return parent, followUps
}

// links returns where the providers show what an intent left there.
func links(in *outbox.Intent) []Link {
	var list []Link
	add := func(id string) {
		link := ""
		switch {
		case strings.HasPrefix(id, "pi_"):
			link = "https://dashboard.stripe.com/payments/" + url.PathEscape(id)
		case strings.HasPrefix(id, "SM"), strings.HasPrefix(id, "MM"):
			link = "https://console.twilio.com/us1/monitor/logs/sms?sid=" + url.QueryEscape(id)
		case in.Kind == outbox.KindEmail && id != "":
			link = "https://app.sendgrid.com/email_activity"
		default:
			return
		}
		if !slices.ContainsFunc(list, func(l Link) bool { return l.URL == link }) {
			list = append(list, Link{Text: id, URL: link})
		}
	}
	result, _ := in.Document["result"].(map[string]any)
	add(textOf(result["id"]))
	for _, field := range []string{"payment_intent"} {
		id, _ := in.Progress[field].(string)
		add(id)
	}
	for _, r := range slices.Backward(in.History) {
		add(r.Ref)
	}
	return list
}

// Reveal returns an intent's payload as it stands. It takes a reason, and leaves a record.
func (s *Service) Reveal(ctx context.Context, a Actor, name, why string) (payload any, err error) {
	in, err := s.look(ctx, a, RoleReveal, name)
	if err != nil {
		return nil, err
	}
	if err := reason(why); err != nil {
		return nil, err
	}
	err = s.act(ctx, a, outbox.Act{Op: "reveal", On: in.Name, Why: why, Before: string(in.Status)}, func(context.Context) (string, error) {
		payload = in.Document["payload"]
		return string(in.Status), nil
	})
	if err != nil { // without its record nothing is shown
		return nil, err
	}
	return payload, nil
}

// Ask asks the provider what its own records show of the intent.
func (s *Service) Ask(ctx context.Context, a Actor, name string) (Evidence, error) {
	in, err := s.look(ctx, a, RoleOperate, name)
	if err != nil {
		return Evidence{}, err
	}
	if s.Prober == nil {
		return Evidence{}, refuse(ProviderUnknown, "this process has no keys of the provider, so it cannot ask; look at the provider's own page")
	}
	return s.Prober.Ask(ctx, in.Intent)
}
