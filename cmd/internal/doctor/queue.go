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
	"github.com/outboxd/outboxd/store"
)

// lanes looks for lanes that a person or a provider stopped.
func lanes(ctx context.Context, p Patient) (detail, remedy string, err error) {
	states, err := p.Store.Lanes(ctx)
	if err != nil {
		return "", "", err
	}
	var stopped, remedies []string
	for _, kind := range slices.Sorted(maps.Keys(states)) {
		switch s := states[kind]; {
		case s.Paused:
			stopped = append(stopped, fmt.Sprintf("%s is paused (%s)", kind, s.Why))
			remedies = append(remedies, "`outboxd lane resume "+kind+"` when the reason is gone")
		case !s.HeldSince.IsZero():
			stopped = append(stopped, fmt.Sprintf("%s is held: the provider refuses our credentials or account (%s)", kind, s.HoldCode))
			remedies = append(remedies, "correct the credentials of "+kind+" and restart its workers")
		}
	}
	if len(stopped) == 0 {
		return "none is paused or held", "", nil
	}
	return strings.Join(stopped, "; "), strings.Join(remedies, "; "), nil
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
	}, options.Count().SetLimit(most))
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
	var invalid int64
	for _, err := range p.Store.Dead(ctx, store.Filter{Reason: outbox.ReasonInvalid, Limit: most}) {
		if err != nil {
			return "", "", err
		}
		invalid++
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
