package migrations

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

const (
	namespaceID     = "namespace" // _id of the namespace in the meta collection
	namespaceLength = 10
	namespaceChars  = "abcdefghijklmnopqrstuvwxyz0123456789"
)

// newNamespace makes a random namespace.
func newNamespace() string {
	name := make([]byte, 0, namespaceLength)
	for len(name) < namespaceLength {
		random := make([]byte, 2*namespaceLength)
		_, _ = rand.Read(random) // it never fails
		for _, b := range random {
			if n := len(namespaceChars); int(b) < 256/n*n && len(name) < namespaceLength { // else the first would be likelier
				name = append(name, namespaceChars[int(b)%n])
			}
		}
	}
	return string(name)
}

// validNamespace reports whether a text can be part of a provider's key as a namespace.
func validNamespace(s string) bool {
	return len(s) == namespaceLength && !slices.ContainsFunc([]byte(s), func(b byte) bool {
		return (b < 'a' || b > 'z') && (b < '0' || b > '9')
	})
}

// setNamespace writes a namespace; one that is there stays unless it is replaced.
func (m *Migrator) setNamespace(name string, replace bool) bson.D {
	operator := "$setOnInsert"
	if replace {
		operator = "$set"
	}
	update := bson.D{
		{Key: "q", Value: bson.D{{Key: "_id", Value: namespaceID}}},
		{Key: "u", Value: bson.D{{Key: operator, Value: bson.D{{Key: "value", Value: name}}}}},
		{Key: "upsert", Value: true},
	}
	return bson.D{{Key: "update", Value: m.layout.meta}, {Key: "updates", Value: bson.A{update}}, durable}
}

// Namespace returns the namespace of the outbox, which is part of every idempotency key at the providers. Without one
// the error wraps [ErrNotMigrated].
func (m *Migrator) Namespace(ctx context.Context) (string, error) {
	s, err := m.state(ctx)
	switch {
	case err != nil:
		return "", err
	case s.namespace == "":
		return "", m.notMigrated(ctx, s)
	default:
		return s.namespace, nil
	}
}

// NewNamespace gives the outbox another namespace, and returns the old one and the new one. It is for a copy of a
// database that shall live on beside the original. While intents have open progress the error wraps
// [ErrOpenProgress]: they belong to the original, and what they began at a provider is known under the old namespace.
// Workers read the namespace when they start, so none may run meanwhile.
func (m *Migrator) NewNamespace(ctx context.Context) (before, now string, err error) {
	if err := m.Check(ctx); err != nil {
		return "", "", err
	}
	l, err := acquire(ctx, m.meta, leaseTime)
	if err != nil {
		return "", "", err
	}
	ctx, release := l.hold(ctx)
	defer release()
	if before, err = m.Namespace(ctx); err != nil {
		return "", "", err
	}
	n, example, err := m.openProgress(ctx)
	switch {
	case err != nil:
		return "", "", err
	case n > 0:
		return "", "", fmt.Errorf("database %s: %s of collection %s have begun at a provider and are not settled, such as %s; "+
			"in a copy, delete what is pending or leased, because it belongs to the original: %w", m.db.Name(), counted(n, "intent"), m.outbox, example, ErrOpenProgress)
	}
	now = newNamespace()
	if err := m.apply(ctx, Step{Command: m.setNamespace(now, true), brief: true}); err != nil {
		return "", "", fmt.Errorf("database %s: writing the new namespace of collection %s: %w", m.db.Name(), m.outbox, err)
	}
	return before, now, nil
}

// mostCounted bounds what is counted for a person.
const mostCounted = 1000

// openProgress counts intents that wait or are leased and have begun at a provider, and names one of them. What has
// no kind is another program's, whatever its fields are called.
func (m *Migrator) openProgress(ctx context.Context) (n int, example string, err error) {
	there := bson.D{{Key: "$exists", Value: true}}
	return m.count(ctx, "counting the intents with open progress", bson.D{
		{Key: "kind", Value: bson.D{{Key: "$type", Value: "string"}}},
		{Key: "status", Value: bson.D{{Key: "$in", Value: bson.A{"pending", "leased"}}}},
		{Key: "$or", Value: bson.A{bson.D{{Key: "progress", Value: there}}, bson.D{{Key: "lease", Value: there}},
			bson.D{{Key: "ambiguous_at", Value: there}}, bson.D{{Key: "outcome", Value: there}}}},
	})
}

// count counts documents of the outbox up to a bound, and names one of them.
func (m *Migrator) count(ctx context.Context, doing string, filter bson.D) (n int, example string, err error) {
	fail := func(err error) (int, string, error) {
		return 0, "", fmt.Errorf("%s in %s.%s: %w", doing, m.db.Name(), m.outbox, err)
	}
	cursor, err := m.intents().Find(ctx, filter, options.Find().SetProjection(bson.D{{Key: "_id", Value: 1}}).SetLimit(mostCounted))
	if err != nil {
		return fail(err)
	}
	var found []struct {
		ID bson.RawValue `bson:"_id"`
	}
	if err := cursor.All(ctx, &found); err != nil {
		return fail(err)
	}
	if len(found) > 0 {
		example = "_id " + shownID(found[0].ID)
	}
	return len(found), example, nil
}

// shownID writes an _id for a person: not as a whole where it is long or a document, which may hold anything.
func shownID(id bson.RawValue) string {
	text := id.String()
	if id.Type == bson.TypeEmbeddedDocument {
		return "of type document"
	}
	if r := []rune(text); len(r) > 80 {
		text = string(r[:80]) + "…"
	}
	return text
}

// counted writes a number of things of which no more than a bound were counted.
func counted(n int, thing string) string {
	switch {
	case n == 1:
		return "1 " + thing
	case n >= mostCounted:
		return fmt.Sprintf("%d or more %ss", mostCounted, thing)
	default:
		return fmt.Sprintf("%d %ss", n, thing)
	}
}

func (m *Migrator) intents() *mongo.Collection { return m.db.Collection(m.outbox) }

// state is what the meta collection says of the outbox.
type state struct {
	record
	namespace string      // empty: none
	kinds     *registered // nil: nothing is registered yet
}

// state reads the record of versions, the namespace and the registered kinds.
func (m *Migrator) state(ctx context.Context) (state, error) {
	fail := func(err error) (state, error) {
		return state{}, fmt.Errorf("reading the schema's version in %s.%s: %w", m.db.Name(), m.meta.Name(), err)
	}
	cursor, err := m.meta.Find(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: bson.A{schemaID, namespaceID, kindsID}}}}})
	if err != nil {
		return fail(err)
	}
	var docs []bson.Raw
	if err := cursor.All(ctx, &docs); err != nil {
		return fail(err)
	}
	var s state
	for _, doc := range docs {
		switch doc.Lookup("_id").StringValue() {
		case schemaID:
			if err := bson.Unmarshal(doc, &s.record); err != nil {
				return fail(err)
			}
		case kindsID:
			s.kinds = &registered{}
			if err := bson.Unmarshal(doc, s.kinds); err != nil {
				return fail(fmt.Errorf("the registered kinds: %w", err))
			}
		case namespaceID:
			name, _ := doc.Lookup("value").StringValueOK()
			if !validNamespace(name) {
				return fail(errors.New("the namespace is not ten characters of a-z and 0-9: restore it from a backup, or from the metadata outbox_ns of anything that a provider got from this outbox"))
			}
			s.namespace = name
		}
	}
	return s, nil
}
