package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/cmd/internal/term"
)

// life is what is told of an intent.
type life struct {
	ID         bson.RawValue `bson:"_id"`
	Kind       string        `bson:"kind"`
	Status     string        `bson:"status"`
	DueAt      time.Time     `bson:"due_at"`
	Attempts   int           `bson:"attempts"`
	DeadReason string        `bson:"dead_reason"`
	Lease      struct {
		Token bson.RawValue `bson:"token"`
	} `bson:"lease"`
	Progress    bson.Raw  `bson:"progress"`
	Outcome     bson.Raw  `bson:"outcome"`
	AmbiguousAt time.Time `bson:"ambiguous_at"`
	LastError   struct {
		Class, Code, Message string
		At                   time.Time
	} `bson:"last_error"`
	Result struct{ Provider, ID string } `bson:"result"`
}

// change is one event: the intent before and after it.
type change struct {
	What   string    `bson:"operationType"`
	At     time.Time `bson:"wallTime"`
	Before *life     `bson:"fullDocumentBeforeChange"`
	After  *life     `bson:"fullDocument"`
}

// follow opens a stream of everything that happens to intents. The server is told to keep what a document was before
// and after each change, so that no event is described by a later state.
func (s *stage) follow(ctx context.Context) (*mongo.ChangeStream, error) {
	err := s.db.RunCommand(ctx, bson.D{{Key: "collMod", Value: collection},
		{Key: "changeStreamPreAndPostImages", Value: bson.D{{Key: "enabled", Value: true}}}}).Err()
	if err != nil {
		return nil, fmt.Errorf("let the outbox keep what changes: %w", err)
	}
	client, err := s.connect(ctx, 0) // with a timeout, a wait in which nothing happens would be an error
	if err != nil {
		return nil, err
	}
	stream, err := client.Database(s.db.Name()).Collection(collection).Watch(ctx, mongo.Pipeline{},
		options.ChangeStream().SetFullDocument(options.Required).SetFullDocumentBeforeChange(options.WhenAvailable))
	if err != nil {
		return nil, fmt.Errorf("watch the outbox: %w", err)
	}
	return stream, nil
}

// tell writes a line for each event until ctx ends.
func tell(ctx context.Context, stream *mongo.ChangeStream, t *teller) (err error) {
	defer func() { err = errors.Join(err, stream.Close(context.WithoutCancel(ctx))) }()
	for stream.Next(ctx) {
		var c change
		if err := stream.Decode(&c); err != nil {
			return fmt.Errorf("read what happened to an intent: %w", err)
		}
		if err := t.tell(c); err != nil {
			return err
		}
	}
	if err := stream.Err(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("watch the outbox: %w", err)
	}
	return nil
}

// teller writes lines about intents.
type teller struct {
	out   io.Writer
	style term.Style
}

func newTeller(out io.Writer, style term.Style) *teller { return &teller{out, style} }

// idWidth is how much of an id is shown.
const idWidth = 26

func (t *teller) tell(c change) error {
	mark, text := t.words(c)
	if text == "" {
		return nil
	}
	in := c.After
	if in == nil {
		in = c.Before
	}
	line := term.Clean(fmt.Sprintf("%-6s  %-*s  %s", in.Kind, idWidth, short(in.ID), text))
	if runes := []rune(line); len(runes) > term.Width-len("15:04:05.000  ") {
		line = string(runes[:term.Width-len("15:04:05.000  ")-1]) + "…"
	}
	_, err := fmt.Fprintf(t.out, "%s  %s\n", t.style.Dim(c.At.Local().Format("15:04:05.000")), mark(line))
	return err
}

// words says in a few words what an event means, nothing where nobody needs to know.
func (t *teller) words(c change) (mark func(string) string, text string) {
	plain := func(s string) string { return s }
	before, after := c.Before, c.After
	switch {
	case c.What == "insert" && after != nil:
		return plain, "written, due " + due(after.DueAt, c.At)
	case c.What == "delete":
		return plain, "removed"
	case after == nil || before == nil:
		return plain, ""
	case before.Status != after.Status:
		return t.moved(before, after, c.At)
	case after.Outcome != nil && before.Outcome == nil:
		return t.style.Yellow, "the outcome is known; its consequences wait"
	case after.Status == "leased" && before.Lease.Token.String() != after.Lease.Token.String():
		return t.style.Yellow, fmt.Sprintf("its lease ran out; claimed again, attempt %d", after.Attempts)
	case after.Status == "leased" && string(before.Progress) != string(after.Progress):
		return plain, "a step is done, and stored"
	case after.Status == "pending" && !before.DueAt.Equal(after.DueAt):
		return plain, "due " + due(after.DueAt, c.At)
	}
	return plain, ""
}

// moved says what a change of status means.
func (t *teller) moved(before, after *life, at time.Time) (mark func(string) string, text string) {
	plain := func(s string) string { return s }
	switch after.Status {
	case "leased":
		if !before.AmbiguousAt.IsZero() {
			return plain, "claimed, to ask the provider first"
		}
		return plain, fmt.Sprintf("claimed, attempt %d", after.Attempts)
	case "done":
		return t.style.Green, strings.TrimSpace(fmt.Sprintf("done: %s %s", after.Result.Provider, after.Result.ID))
	case "dead":
		return t.style.Red, fmt.Sprintf("dead: %s%s", after.DeadReason, failure(after))
	case "cancelled":
		return t.style.Yellow, "cancelled"
	case "pending":
		switch {
		case before.Status == "dead":
			return t.style.Yellow, "retried by a person, due " + due(after.DueAt, at)
		case after.Outcome != nil:
			return t.style.Yellow, "the outcome is known; its consequences wait"
		case !after.AmbiguousAt.IsZero():
			return t.style.Yellow, fmt.Sprintf("nobody knows whether it was sent, again %s%s", due(after.DueAt, at), failure(after))
		case !after.LastError.At.Equal(before.LastError.At):
			return t.style.Yellow, fmt.Sprintf("again %s%s", due(after.DueAt, at), failure(after))
		}
		return plain, "given back, due " + due(after.DueAt, at)
	}
	return plain, after.Status
}

// failure is what went wrong last.
func failure(in *life) string {
	if in.LastError.Code == "" {
		return ""
	}
	return fmt.Sprintf(" (%s: %s)", in.LastError.Code, in.LastError.Message)
}

// due says when, as seen from the event.
func due(at, now time.Time) string {
	wait := at.Sub(now).Round(100 * time.Millisecond)
	if wait <= 0 {
		return "now"
	}
	return "in " + wait.String()
}

// short is an id that fits its column: of a long one the ends, which tell follow-ups apart.
func short(id bson.RawValue) string {
	text := id.String()
	if s, ok := id.StringValueOK(); ok {
		text = s
	} else if oid, ok := id.ObjectIDOK(); ok {
		text = oid.Hex()
	}
	if runes := []rune(text); len(runes) > idWidth {
		half := (idWidth - 1) / 2
		text = string(runes[:half]) + "…" + string(runes[len(runes)-(idWidth-1-half):])
	}
	return text
}
