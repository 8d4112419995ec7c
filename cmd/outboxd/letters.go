package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/internal/timing"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store"
)

// letter is a dead letter that is to be changed.
type letter struct {
	name string // by which the service finds it
	read func(context.Context) (outbox.Snapshot, error)
}

// named returns the intents that a person names.
func (d *desk) named(ids []string) []letter {
	letters := make([]letter, len(ids))
	for i, id := range ids {
		letters[i] = letter{id, func(ctx context.Context) (outbox.Snapshot, error) { return d.store.Look(ctx, id) }}
	}
	return letters
}

// filtered returns the dead letters that fit the filter now. An intent that dies while the command runs is not among
// them. A paced run may last for hours, so it keeps only the _ids, and reads each document when its turn comes.
func (d *desk) filtered(ctx context.Context, filter store.Filter) ([]letter, error) {
	var letters []letter
	for raw, err := range d.store.Dead(ctx, filter) {
		if err != nil {
			return nil, err
		}
		id, died := clone(raw.Lookup("_id")), clone(raw.Lookup("dead_at"))
		name := id.String() // Extended JSON, which keeps the type
		letters = append(letters, letter{name, func(ctx context.Context) (outbox.Snapshot, error) {
			in, err := d.store.Look(ctx, name)
			if err == nil && !rawOf(in).Lookup("dead_at").Equal(died) {
				return in, store.ErrChanged
			}
			return in, err
		}})
	}
	return letters, nil
}

// clone keeps a value without the document that it stands in.
func clone(v bson.RawValue) bson.RawValue {
	return bson.RawValue{Type: v.Type, Value: append([]byte(nil), v.Value...)}
}

// judged is what the rules say of a letter.
type judged struct {
	words string // of what is changed, for a person
	more  bson.D // fields of its own, for programs
}

// each changes letters one after another, and says of each what became of it.
type each struct {
	*program
	desk   *desk
	form   string
	dryRun bool
	word   string        // what is done, as a participle
	every  time.Duration // between two; 0: no rate

	judge  func(outbox.Snapshot) (judged, error)
	change func(ctx context.Context, name string) error

	changed, refused int
	next             time.Time // before this instant the rate allows no change
}

// run changes the letters one after another. Where a signal ends it early, stopped says what was done and what is left.
func (e *each) run(ctx context.Context, letters []letter) (stopped, err error) {
	var failures []error
	done := 0
	for _, l := range letters {
		err := e.one(ctx, l)
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			break
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		if err != nil { // one of several: the others are changed all the same
			failures = append(failures, plainly(err))
		}
		done++
	}
	left := len(letters) - done
	if err := errors.Join(failures...); err != nil && left == 0 {
		return nil, err
	}
	if e.form == formTable {
		if err := e.sum(left); err != nil {
			return nil, err
		}
	}
	if left > 0 {
		return errors.Join(append(failures, fmt.Errorf("a signal ended it: %d %s, %d refused, %d left as they were; the same command goes on with those", e.changed, e.word, e.refused, left))...), nil
	}
	if e.refused > 0 {
		return nil, fmt.Errorf("%d dead letters are not %s, each for the reason given with it", e.refused, e.word)
	}
	return nil, nil
}

func (e *each) sum(left int) error {
	words := fmt.Sprintf("%d %s, %d refused", e.changed, e.word, e.refused)
	if e.dryRun {
		words = fmt.Sprintf("%d would be %s, %d would be refused. Nothing was changed", e.changed, e.word, e.refused)
	}
	if left > 0 {
		words += fmt.Sprintf(", %d left", left)
	}
	_, err := fmt.Fprintln(e.out, words+".")
	return err
}

// one decides about one letter, changes it unless that is refused, and says so. It waits for the rate before it writes.
// A signal ends it with the context's error, and nothing is written then; what is being written is written to its end.
func (e *each) one(ctx context.Context, l letter) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	unhurried := context.WithoutCancel(ctx) // the store bounds each call
	in, err := l.read(unhurried)
	if errors.Is(err, store.ErrChanged) {
		return e.refuse(in, judged{}, err.Error())
	}
	if err != nil {
		return err
	}
	j, err := e.judge(in)
	if wait := time.Until(e.next); err == nil && !e.dryRun && wait > 0 {
		if err := timing.Sleep(ctx, wait); err != nil {
			return err
		}
		return e.one(ctx, l) // it may have changed meanwhile
	}
	if !e.dryRun { // what the rules refuse as well: the audit records who tried
		err = e.change(unhurried, l.name)
	}
	refusal, isRefusal := errors.AsType[*outbox.Refusal](err)
	switch {
	case err == nil:
		e.changed++
		e.next = time.Now().Add(e.every)
		return e.say(in, j)
	case isRefusal:
		return e.refuse(in, j, e.desk.workers.why(refusal))
	case errors.Is(err, store.ErrChanged):
		return e.refuse(in, j, store.ErrChanged.Error())
	default:
		return err
	}
}

func (e *each) say(in outbox.Snapshot, j judged) error {
	if e.form != formTable {
		return e.fields(in, j, !e.dryRun, nil)
	}
	word := e.word
	if e.dryRun {
		word = "would be " + word
	}
	return e.words(rawOf(in), word, j.words)
}

func (e *each) refuse(in outbox.Snapshot, j judged, why string) error {
	e.refused++
	if e.form == formTable {
		return e.words(rawOf(in), "refused", why)
	}
	more := make(bson.D, len(j.more))
	for i, f := range j.more {
		more[i] = bson.E{Key: f.Key}
	}
	return e.fields(in, judged{more: more}, false, why)
}

func (e *each) fields(in outbox.Snapshot, j judged, changed bool, why any) error {
	fields := append(bson.D{{Key: e.word, Value: changed}}, j.more...)
	return e.line(e.form, rawOf(in), append(fields, bson.E{Key: "code", Value: code(rawOf(in))}, bson.E{Key: "why", Value: why}))
}
