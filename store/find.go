package store

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"math"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/store/internal/expr"
)

// Bounds of a page.
const (
	defaultPage = 50
	mostPage    = 500
)

// latestDate is the last Date there is.
const latestDate = bson.DateTime(math.MaxInt64)

// ErrCursor is returned by Find for an After that it did not make for such a search.
var ErrCursor = errors.New("the page that was asked for is none of this search")

// cursor is where a page ends: the sort key and the _id of its last row, and how many rows with that key came before.
type cursor struct {
	Key  bson.RawValue `bson:"k"`
	Prio bson.RawValue `bson:"p,omitempty"`
	Kind bson.RawValue `bson:"d,omitempty"`
	ID   bson.RawValue `bson:"i"`
	Same int64         `bson:"s,omitempty"`
}

func (c cursor) text() (string, error) {
	b, err := bson.Marshal(c)
	return base64.RawURLEncoding.EncodeToString(b), err
}

func cursorOf(text string) (c cursor, given bool, err error) {
	if text == "" {
		return c, false, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || bson.Raw(b).Validate() != nil || bson.Unmarshal(b, &c) != nil || c.ID.Type == 0 {
		return c, false, ErrCursor
	}
	return c, true, nil
}

// Find returns one page of the intents that fit. Each search is served by an index; one that none serves is refused
// with an [outbox.NotIndexed]. A page of what is done may have fewer rows than its limit, or none, and a Next still.
func (d *Desk) Find(ctx context.Context, s outbox.Search) (outbox.Page, error) {
	const doing = "find intents"
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	s.Limit = min(cmp.Or(max(0, s.Limit), defaultPage), mostPage)
	after, given, err := cursorOf(s.After)
	if err != nil {
		return outbox.Page{}, err
	}
	f := finder{Desk: d, Search: s, after: after, more: given}
	var raws []bson.Raw
	var next func(bson.Raw) cursor
	var rest *cursor // where to go on after a page that is not full
	foreign := s.Reason != "" || s.Code != "" || s.ProviderCode != "" || !s.Until.IsZero()
	switch {
	case foreign && s.Stage != outbox.StageDead:
		return outbox.Page{}, &outbox.NotIndexed{Field: "last_error of what is not dead"}
	case s.ID != "":
		raws, next, err = f.byID(ctx)
	case s.ProviderID != "" || len(s.Metadata) > 0:
		raws, next, err = f.byField(ctx)
	case s.Stage == outbox.StageDead:
		raws, next, err = f.dead(ctx)
	case s.Stage == outbox.StageWaiting:
		raws, next, err = f.waiting(ctx)
	case s.Stage == outbox.StageInDoubt:
		raws, next, err = f.inDoubt(ctx)
	case s.Stage == outbox.StageCancelled:
		raws, next, err = f.cancelled(ctx)
	case s.Stage == outbox.StageDone:
		raws, next, rest, err = f.done(ctx)
	default:
		return outbox.Page{}, &outbox.NotIndexed{Field: "nothing"}
	}
	if _, not := errors.AsType[*outbox.NotIndexed](err); not {
		return outbox.Page{}, err
	}
	if err != nil {
		return outbox.Page{}, failed(err, doing)
	}
	var page outbox.Page
	if len(raws) > s.Limit {
		raws = raws[:s.Limit]
		rest = new(next(raws[s.Limit-1]))
	}
	if rest != nil {
		if page.Next, err = rest.text(); err != nil {
			return outbox.Page{}, failed(err, doing)
		}
	}
	for _, raw := range raws {
		in, err := d.snapshot(raw)
		if err != nil {
			return outbox.Page{}, err
		}
		page.Items = append(page.Items, in)
	}
	return page, nil
}

// finder is one search. Its methods return one row more than a page has, if there is one, and where a page ends.
type finder struct {
	*Desk
	outbox.Search
	after cursor
	more  bool // after is given
}

// read returns what a query finds, at once.
func (f finder) read(ctx context.Context, filter any, o *options.FindOptionsBuilder) (raws []bson.Raw, err error) {
	c, err := f.intents.Find(ctx, filter, o.SetLimit(int64(f.Limit+1)).SetBatchSize(int32(f.Limit+1)))
	if err != nil {
		return nil, err
	}
	defer c.Close(context.WithoutCancel(ctx))
	for c.Next(ctx) {
		raws = append(raws, bytes.Clone(c.Current))
	}
	return raws, c.Err()
}

// also returns conditions that no index has to serve: they concern what an index has narrowed down.
func (f finder) also() bson.D {
	var d bson.D
	if f.Kind != "" {
		d = append(d, bson.E{Key: "kind", Value: equal(f.Kind)})
	}
	switch f.Stage {
	case outbox.StageWaiting:
		d = append(d, bson.E{Key: "status", Value: expr.In(bson.A{outbox.StatusPending, outbox.StatusLeased})})
	case outbox.StageInDoubt:
		d = append(d, bson.E{Key: "status", Value: expr.In(bson.A{outbox.StatusPending, outbox.StatusLeased})},
			bson.E{Key: "ambiguous_at", Value: expr.Gte(earliest)})
	case outbox.StageDone, outbox.StageDead, outbox.StageCancelled:
		d = append(d, bson.E{Key: "status", Value: string(f.Stage)})
	}
	return d
}

func byIDCursor(raw bson.Raw) cursor {
	return cursor{Key: bson.RawValue{Type: bson.TypeNull}, ID: raw.Lookup("_id")}
}

// byID finds what begins with the text, and on the first page what the text means as a whole.
func (f finder) byID(ctx context.Context) ([]bson.Raw, func(bson.Raw) cursor, error) {
	bounds := bson.D{{Key: "$gte", Value: f.ID}, {Key: "$lt", Value: f.ID + "\U0010ffff"}}
	if f.more {
		bounds[0] = bson.E{Key: "$gt", Value: f.after.ID}
	}
	raws, err := f.read(ctx, append(bson.D{{Key: "_id", Value: bounds}}, f.also()...),
		options.Find().SetHint(expr.Fields("_id")).SetSort(expr.Fields("_id")))
	if err != nil || f.more {
		return raws, byIDCursor, err
	}
	whole := meant(f.ID)[1:]
	if len(whole) == 0 {
		return raws, byIDCursor, nil
	}
	exact, err := f.read(ctx, append(bson.D{{Key: "_id", Value: expr.In(whole)}}, f.also()...), options.Find().SetHint(expr.Fields("_id")))
	for _, raw := range exact {
		if raw.Lookup("_id").Type != bson.TypeString {
			raws = slices.Insert(raws, 0, raw)
		}
	}
	return raws, byIDCursor, err
}

// byField finds by what only an index of the deployment's own serves.
func (f finder) byField(ctx context.Context) ([]bson.Raw, func(bson.Raw) cursor, error) {
	wanted := bson.D{}
	if f.ProviderID != "" {
		wanted = append(wanted, bson.E{Key: "result.id", Value: equal(f.ProviderID)})
	}
	for key, value := range f.Metadata {
		wanted = append(wanted, bson.E{Key: "metadata." + key, Value: equal(value)})
	}
	indexes, err := f.leading(ctx)
	if err != nil {
		return nil, nil, err
	}
	hint := ""
	for _, e := range wanted {
		hint = cmp.Or(hint, indexes[e.Key])
	}
	if hint == "" {
		return nil, nil, &outbox.NotIndexed{Field: wanted[0].Key}
	}
	if f.more {
		wanted = append(wanted, expr.Expr(expr.Gt("$_id", expr.Literal(f.after.ID))))
	}
	raws, err := f.read(ctx, append(wanted, f.also()...), options.Find().SetHint(hint).SetSort(expr.Fields("_id")))
	return raws, byIDCursor, err
}

// leading returns the names of the whole indexes of the outbox by the field that they begin with.
func (f finder) leading(ctx context.Context) (map[string]string, error) {
	c, err := f.intents.Indexes().List(ctx)
	if err != nil {
		return nil, err
	}
	var found []struct {
		Name    string
		Key     bson.D
		Partial bson.Raw `bson:"partialFilterExpression"`
	}
	if err := c.All(ctx, &found); err != nil {
		return nil, err
	}
	names := make(map[string]string)
	for _, ix := range found {
		if len(ix.Key) > 0 && ix.Partial == nil {
			names[ix.Key[0].Key] = ix.Name
		}
	}
	return names, nil
}

// merged returns the newest of two lists by a date and the _id, one more than a page has.
func (f finder) merged(a, b []bson.Raw, date string) []bson.Raw {
	all := slices.Concat(a, b)
	slices.SortStableFunc(all, func(a, b bson.Raw) int {
		x, dated := a.Lookup(date).DateTimeOK()
		y, too := b.Lookup(date).DateTimeOK()
		if dated != too { // what has no date comes last
			return map[bool]int{true: -1, false: 1}[dated]
		}
		return cmp.Or(cmp.Compare(y, x), compareIDs(b.Lookup("_id"), a.Lookup("_id")))
	})
	return all[:min(len(all), f.Limit+1)]
}

// waiting finds what is not finished, in the order in which a claim takes it, kind by kind.
func (f finder) waiting(ctx context.Context) ([]bson.Raw, func(bson.Raw) cursor, error) {
	end := func(raw bson.Raw) cursor {
		return cursor{Kind: raw.Lookup("kind"), Prio: valueAt(raw, "priority"), Key: raw.Lookup("due_at"), ID: raw.Lookup("_id")}
	}
	bound := func(kind, rest any) bson.D {
		return bson.D{{Key: "kind", Value: kind}, {Key: "priority", Value: rest}, {Key: "due_at", Value: rest}, {Key: "_id", Value: rest}}
	}
	from, until := bound(bson.MinKey{}, bson.MinKey{}), bound(bson.MaxKey{}, bson.MaxKey{})
	if f.Kind != "" {
		from, until = bound(f.Kind, bson.MinKey{}), bound(f.Kind, bson.MaxKey{})
	}
	if f.more {
		from = bson.D{{Key: "kind", Value: f.after.Kind}, {Key: "priority", Value: f.after.Prio}, {Key: "due_at", Value: f.after.Key}, {Key: "_id", Value: f.after.ID}}
		f.Limit++ // the last row of the page before comes again
	}
	raws, err := f.read(ctx, bson.D{}, options.Find().SetHint(indexClaim).SetMin(from).SetMax(until))
	if f.more && len(raws) > 0 {
		if raws[0].Lookup("_id").Equal(f.after.ID) {
			raws = raws[1:]
		} else {
			raws = raws[:min(len(raws), f.Limit)]
		}
	}
	return raws, end, err
}

// inDoubt finds what workers are finding out about, the oldest doubt first.
func (f finder) inDoubt(ctx context.Context) ([]bson.Raw, func(bson.Raw) cursor, error) {
	end := func(raw bson.Raw) cursor { return cursor{Key: raw.Lookup("ambiguous_at"), ID: raw.Lookup("_id")} }
	if f.Kind == "" {
		return nil, nil, &outbox.NotIndexed{Field: "doubt without a kind"}
	}
	filter := bson.D{{Key: "kind", Value: equal(f.Kind)}, {Key: "due_at", Value: expr.Exists(true)}}
	least := expr.Gte(earliest)
	if f.more {
		least = expr.Gte(f.after.Key)
		filter = append(filter, bson.E{Key: "$or", Value: bson.A{
			bson.D{{Key: "ambiguous_at", Value: expr.Gt(f.after.Key)}},
			bson.D{expr.Expr(expr.Gt("$_id", expr.Literal(f.after.ID)))},
		}})
	}
	raws, err := f.read(ctx, append(filter, bson.E{Key: "ambiguous_at", Value: least}), options.Find().SetHint(indexInDoubt).
		SetSort(expr.Fields("ambiguous_at", "_id")))
	return raws, end, err
}
