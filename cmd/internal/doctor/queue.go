package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/cmd/internal/config"
	"github.com/outboxd/outboxd/cmd/internal/worker"
	"github.com/outboxd/outboxd/migrations"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers"
)

// lanes looks for lanes that a person or a provider stopped.
func lanes(ctx context.Context, p Patient) (detail, remedy string, err error) {
	states, err := p.Store.Lanes(ctx)
	if err != nil {
		return "", "", err
	}
	now := p.Store.Now()
	var stopped, remedies, notes []string
	for _, kind := range slices.Sorted(maps.Keys(states)) {
		s := states[kind]
		if configured, _ := outbox.ParseRate(s.Rate); s.Limit > 0 && outbox.EffectiveRate(configured, s.Limit) == s.Limit {
			notes = append(notes, fmt.Sprintf("%s is slowed down to %s%s", kind, outbox.RateText(s.Limit), because(s.LimitWhy, s.LimitBy)))
		}
		switch {
		case s.Paused:
			stopped = append(stopped, kind+" is paused"+because(s.Why, s.By))
			remedies = append(remedies, "`outboxd lane resume "+kind+"` when the reason is gone")
		case !s.HeldSince.IsZero():
			stopped = append(stopped, fmt.Sprintf("%s is held since %s: the provider refuses our credentials or account (%s)", kind, since(now, s.HeldSince), s.HoldCode))
			remedies = append(remedies, "correct the credentials of "+kind+" and restart its workers")
		case s.BrokenUntil.After(now):
			stopped = append(stopped, fmt.Sprintf("the breaker of %s is open for %v more: its provider fails", kind, s.BrokenUntil.Sub(now).Round(time.Second)))
			remedies = append(remedies, "look at the provider of "+kind+" and at the network; probes go on by themselves")
		case s.GateUntil.After(now): // nobody has to do anything
			notes = append(notes, fmt.Sprintf("%s waits for %v more, as its provider asked", kind, s.GateUntil.Sub(now).Round(time.Second)))
		}
	}
	if len(stopped) == 0 {
		return strings.Join(append([]string{"none is paused, held or broken"}, notes...), "; "), "", nil
	}
	return strings.Join(append(stopped, notes...), "; "), strings.Join(remedies, "; "), nil
}

// because says why and by whom, as far as that is known.
func because(why, by string) string {
	switch {
	case why != "" && by != "":
		return fmt.Sprintf(" by %s (%s)", by, why)
	case why != "":
		return fmt.Sprintf(" (%s)", why)
	case by != "":
		return " by " + by
	default:
		return ", and nobody wrote why"
	}
}

// since says an instant and how long ago it was. A hold by hand has no instant.
func since(now, at time.Time) string {
	if at.Unix() == 0 {
		return "an unknown instant"
	}
	return fmt.Sprintf("%s (%v ago)", at.UTC().Format("2006-01-02 15:04 MST"), now.Sub(at).Round(time.Second))
}

// verdicts looks for dead letters that only a person can decide.
func verdicts(ctx context.Context, p Patient) (detail, remedy string, err error) {
	n, err := deadOf(ctx, p, outbox.ReasonAmbiguous)
	if err != nil {
		return "", "", err
	}
	if n == 0 {
		return "no dead letter is ambiguous", "", nil
	}
	return upTo(n) + " dead letters are ambiguous: nobody knows whether they were sent",
		"`outboxd dead list --reason ambiguous` shows them; look at the provider, and answer with `outboxd resolve`", nil
}

// deadOf counts the dead letters of a reason, up to a bound.
func deadOf(ctx context.Context, p Patient, reason outbox.DeadReason) (int64, error) {
	n, err := p.Store.Database().Collection(p.Collection).CountDocuments(ctx, bson.D{
		{Key: "kind", Value: bson.D{{Key: "$gte", Value: ""}}}, {Key: "dead_reason", Value: reason}, {Key: "dead_at", Value: bson.D{{Key: "$gte", Value: time.Time{}}}},
	}, options.Count().SetHint(migrations.IndexDeadGroups).SetLimit(most))
	if err != nil {
		return 0, failed("count dead letters", err)
	}
	return n, nil
}

// served looks for kinds that have something due while no live worker serves them.
func served(ctx context.Context, p Patient) (detail, remedy string, err error) {
	oldest, err := p.Store.Oldest(ctx)
	if err != nil {
		return "", "", err
	}
	workers, err := p.Store.Workers(ctx)
	if err != nil {
		return "", "", err
	}
	for _, w := range workers {
		for _, kind := range w.Kinds {
			delete(oldest, kind)
		}
	}
	detail = fmt.Sprintf("%d workers live", len(workers))
	if len(oldest) == 0 {
		return detail + "; nothing is due that none of them serves", "", nil
	}
	var waits []string
	for _, kind := range slices.Sorted(maps.Keys(oldest)) {
		waits = append(waits, fmt.Sprintf("%s (for %v)", kind, oldest[kind].Round(time.Second)))
	}
	return detail + "; nobody serves what waits of kind " + strings.Join(waits, ", "), "start a worker with credentials for it, or correct the producer's kind", nil
}

// most bounds what is counted.
const most = 1000

// overdue is how long after its end a lease that nobody took over is worth a word.
const overdue = time.Minute

// leases looks for leases that ran out and were not taken over.
func leases(ctx context.Context, p Patient) (detail, remedy string, err error) {
	n, err := p.Store.Database().Collection(p.Collection).CountDocuments(ctx, bson.D{
		{Key: "status", Value: outbox.StatusLeased}, {Key: "due_at", Value: bson.D{{Key: "$lt", Value: p.Store.Now().Add(-overdue)}}},
	}, options.Count().SetHint(migrations.IndexClaim).SetLimit(most)) // what is finished is not read
	if err != nil {
		return "", "", failed("count leases that ran out", err)
	}
	if n == 0 {
		return fmt.Sprintf("none ran out more than %v ago", overdue), "", nil
	}
	return fmt.Sprintf("%s ran out more than %v ago and nobody took them over", upTo(n), overdue), "start a worker for their kinds; it asks the provider before it sends again", nil
}

// waits looks for outcomes whose consequences cannot be written, because somebody holds what they concern.
func waits(ctx context.Context, p Patient) (detail, remedy string, err error) {
	waiting, err := p.Store.Waiting(ctx)
	if err != nil {
		return "", "", err
	}
	var texts []string
	var longest time.Duration
	for _, kind := range slices.Sorted(maps.Keys(waiting)) {
		w := waiting[kind]
		longest = max(longest, w.Age)
		texts = append(texts, fmt.Sprintf("%d of %s, since %v", w.N, kind, w.Age.Round(time.Second)))
	}
	if len(texts) == 0 {
		return "nothing waits to be written", "", nil
	}
	if longest < time.Minute { // a lock that is just being held
		return strings.Join(texts, "; "), "", nil
	}
	return strings.Join(texts, "; "), "the field outcome.why says what is in the way: end the transaction or the change of schema that holds it; the workers go on by themselves", nil
}

// malformed looks for intents that no claim can see, and for dead letters that broke the contract.
func malformed(ctx context.Context, p Patient) (detail, remedy string, err error) {
	unseen, err := p.Store.Database().Collection(p.Collection).CountDocuments(ctx,
		bson.D{{Key: "status", Value: bson.D{{Key: "$ne", Value: outbox.StatusCancelled}}}}, // those only wait for a purge_at
		options.Count().SetHint(migrations.IndexUnclaimable).SetLimit(most))
	if err != nil {
		return "", "", failed("count what no claim can see", err)
	}
	invalid, err := deadOf(ctx, p, outbox.ReasonInvalid)
	if err != nil {
		return "", "", err
	}
	var remedies []string
	if unseen > 0 {
		remedies = append(remedies, "start a worker, which makes dead letters of them")
	}
	if invalid > 0 {
		remedies = append(remedies, "`outboxd dead list --reason invalid` shows them; mend the producer, and let it write them anew")
	}
	return fmt.Sprintf("%s that no claim can see, %s dead letters that break the contract", upTo(unseen), upTo(invalid)), strings.Join(remedies, "; "), nil
}

// foreign looks for documents that no worker touches, because they are no intents.
func foreign(ctx context.Context, p Patient) (detail, remedy string, err error) {
	n, err := p.Store.Foreign(ctx)
	if err != nil {
		return "", "", err
	}
	if n > 0 {
		return upTo(n) + " documents have no kind; no worker touches them", "find out which program writes them, and let it write a kind or use a collection of its own", nil
	}
	return "every document has a kind", "", nil
}

func upTo(n int64) string {
	if n >= most {
		return fmt.Sprintf("%d or more", most)
	}
	return fmt.Sprint(n)
}

// credentials are the checks of the providers that are configured: a harmless authenticated call each.
func credentials(p Patient) []check {
	var list []check
	for _, lane := range config.DefaultLanes() {
		if variables := p.Providers.Missing(lane.Kind); variables != "" {
			list = append(list, check{name: "credentials of " + lane.Kind, make: func(context.Context, Patient) (string, string, error) {
				return "none in this environment", "set " + variables + ", or do without " + lane.Kind, nil
			}})
			continue
		}
		list = append(list, check{
			name: "credentials of " + lane.Kind, remedy: "correct the key or the URL in the environment",
			make: func(ctx context.Context, p Patient) (string, string, error) { return credential(ctx, p, lane.Kind) },
		})
	}
	return list
}

func credential(ctx context.Context, p Patient, kind string) (detail, remedy string, err error) {
	transport := providers.NewTransport(providers.TransportConfig{})
	defer transport.CloseIdleConnections()
	provider, err := worker.Provider(kind, p.Providers, worker.Plain(transport), nil)
	if err != nil {
		return "", "", err
	}
	checker, ok := provider.(interface{ Check(context.Context) error })
	if !ok {
		return "", "", errors.New("this provider has no harmless call")
	}
	if err := checker.Check(ctx); err != nil {
		return "", "", err
	}
	return "the provider accepts them", "", nil
}
