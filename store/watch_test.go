package store_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store"
)

// watching runs Watch and returns its hints. It ends with the test.
func (h *harness) watching(t *testing.T) <-chan string {
	hints := make(chan string, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- h.store.Watch(ctx, store.Watcher{Notify: func(hint outbox.Hint) { hints <- say(hint) }})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Watch: %v", err)
		}
	})
	wantHint(t, hints, "") // it is open
	return hints
}

// say writes a hint in words.
func say(h outbox.Hint) string {
	var words []string
	if h.Kind != "" {
		words = append(words, h.Kind)
	}
	if h.ID != (outbox.ID{}) {
		words = append(words, h.ID.String())
	}
	if !h.Due.IsZero() {
		words = append(words, "later")
	}
	if h.Shared {
		words = append(words, "shared")
	}
	return strings.Join(words, " ")
}

// A hint names its intent where it can; what is due a moment later is told as that, for a claim now would find nothing.
func TestWatchNamesIntents(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	hints := make(chan string, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- h.store.Watch(ctx, store.Watcher{Notify: func(hint outbox.Hint) { hints <- say(hint) }})
	}()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Watch: %v", err)
		}
	}()
	wantHint(t, hints, "")
	h.insertMany("a", 1, nil)
	wantHint(t, hints, "sms a0")
	h.insertMany("ahead", 1, map[string]any{"due_at": h.store.Now().Add(800 * time.Millisecond)})
	wantHint(t, hints, "sms later")
	if err := insert(h, int64(7)); err != nil {
		t.Fatal(err)
	}
	wantHint(t, hints, "sms") // an _id that no contract knows cannot be named
}

func insert(h *harness, id any) error {
	_, err := h.outbox().InsertOne(h.t.Context(), store.Encode(h.intent(id, nil)), options.InsertOne().SetBypassDocumentValidation(true))
	return err
}

// wantHint checks the next hint.
func wantHint(t *testing.T, hints <-chan string, want string) {
	t.Helper()
	select {
	case got := <-hints:
		if got != want {
			t.Errorf("the hint is %q, want %q", got, want)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("no hint for %q", want)
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	hints := h.watching(t)

	h.insertMany("a", 1, nil)
	wantHint(t, hints, "sms a0")
	h.insertMany("later", 1, map[string]any{"due_at": h.store.Now().Add(time.Hour)})
	wantHint(t, hints, "sms later")
	h.insertMany("odd", 1, map[string]any{"kind": int64(7)})
	wantHint(t, hints, "")
	h.must(h.store.Pause(t.Context(), "email", "", ""))
	wantHint(t, hints, "email shared")

	claimed := h.claim(1) // no hint
	retry := done(claimed)
	retry[0].Decision.Status, retry[0].Decision.Receipt, retry[0].Decision.Delay = "pending", nil, time.Hour
	h.settle(retry)
	wantHint(t, hints, "later") // a change does not tell the kind
	h.Change("a0", map[string]any{"due_at": h.store.Now()})
	wantHint(t, hints, "")
	claimed = h.claim(1)
	h.settle(done(claimed)) // no hint
	h.insertMany("last", 1, map[string]any{"kind": "charge"})
	wantHint(t, hints, "charge last0")
}

// A stream that breaks is opened again, and everybody is woken for what happened meanwhile.
func TestWatchReopens(t *testing.T) {
	h := newHarness(t)
	hints := h.watching(t)
	h.fail(1, []string{"getMore"}, bson.E{Key: "errorCode", Value: 286}) // ChangeStreamHistoryLost: the driver cannot resume
	h.insertMany("a", 1, nil)
	for hint := range hints { // the event may still come before the error
		if hint == "" {
			break
		}
	}
	h.insertMany("b", 1, map[string]any{"kind": "email"})
	for hint := range hints {
		if hint == "email b0" {
			break
		}
	}
}

// A refusal is told and does not end it: a privilege may be granted meanwhile.
func TestWatchRefused(t *testing.T) {
	for _, code := range []int{13, 40573, 115} {
		h := newHarness(t)
		h.fail(1, []string{"aggregate"}, bson.E{Key: "errorCode", Value: code})
		ctx, cancel := context.WithCancel(t.Context())
		refused, ended := make(chan error, 1), make(chan error, 1)
		go func() {
			ended <- h.store.Watch(ctx, store.Watcher{Notify: func(outbox.Hint) {}, Refused: func(err error) { refused <- err }})
		}()
		if err := <-refused; !errors.Is(err, store.ErrNoWatch) {
			t.Errorf("%d: refused with %v, want ErrNoWatch", code, err)
		}
		select {
		case err := <-ended:
			t.Errorf("%d: it ended: %v", code, err)
		default:
			cancel()
			h.must(<-ended)
		}
		cancel()
	}
}
