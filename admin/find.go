package admin

import (
	"context"
	"slices"
	"time"

	"github.com/outboxd/outboxd/outbox"
)

// Row is one intent in a list. It holds no payload.
type Row struct {
	Name     string // names exactly this intent
	Kind     string
	Status   outbox.Status
	InDoubt  bool
	Reason   outbox.DeadReason
	Code     string
	Attempts int
	At       time.Time // of what is final: when it ended; otherwise its due_at
	Metadata map[string]string
}

// List is one page of rows.
type List struct {
	Rows []Row
	Next string // for [outbox.Search.After]; empty: this is the last page. A list with a Next may have few rows, or none
}

// Find returns one page of the intents that fit, without payloads.
func (s *Service) Find(ctx context.Context, a Actor, search outbox.Search) (List, error) {
	if err := s.allow(a, RoleRead, search.Kind); err != nil {
		return List{}, err
	}
	if len(a.Kinds) == 1 {
		search.Kind = a.Kinds[0]
	}
	page, err := s.Reader.Find(ctx, search)
	if err != nil {
		return List{}, business(err)
	}
	list := List{Next: page.Next}
	for _, in := range page.Items {
		if a.MayKind(in.Kind) {
			list.Rows = append(list.Rows, s.row(in))
		}
	}
	return list, nil
}

func (s *Service) row(in outbox.Snapshot) Row {
	r := Row{Name: in.Name, Kind: in.Kind, Status: in.Status, InDoubt: !in.Status.Final() && !in.AmbiguousAt.IsZero(), Reason: in.DeadReason,
		Code: lastError(in.Intent, "code"), Attempts: in.Attempts, At: in.DueAt, Metadata: s.metadata(in.Intent)}
	if ended := ended(in.Intent); !ended.IsZero() {
		r.At = ended
	}
	return r
}

// ended returns when a final intent ended, zero if it did not.
func ended(in *outbox.Intent) time.Time {
	field := map[outbox.Status]string{outbox.StatusDone: "done_at", outbox.StatusDead: "dead_at", outbox.StatusCancelled: "cancelled_at"}[in.Status]
	at, _ := in.Document[field].(time.Time)
	return at
}

// lastError returns a text of last_error, empty if there is none.
func lastError(in *outbox.Intent, field string) string {
	failure, _ := in.Document["last_error"].(map[string]any)
	text, _ := failure[field].(string)
	return text
}

// metadata returns the metadata with the values masked that the configuration names.
func (s *Service) metadata(in *outbox.Intent) map[string]string {
	if len(in.Metadata) == 0 {
		return nil
	}
	shown := make(map[string]string, len(in.Metadata))
	for key, value := range in.Metadata {
		if slices.Contains(s.Mask, key) {
			value = MaskText(value)
		}
		shown[key] = value
	}
	return shown
}

// Groups returns the groups of dead letters of a kind, of all kinds if it is empty, the largest first.
func (s *Service) Groups(ctx context.Context, a Actor, kind string) ([]outbox.Group, error) {
	if err := s.allow(a, RoleRead, kind); err != nil {
		return nil, err
	}
	groups, err := s.Reader.Groups(ctx, kind)
	if err != nil {
		return nil, business(err)
	}
	groups = slices.DeleteFunc(groups, func(g outbox.Group) bool { return !a.MayKind(g.Kind) })
	slices.SortStableFunc(groups, func(a, b outbox.Group) int {
		switch {
		case a.Count.N != b.Count.N:
			return int(b.Count.N - a.Count.N)
		default:
			return b.Last.Compare(a.Last)
		}
	})
	return groups, nil
}
