package migrations

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// Adopt returns a migrator that takes over a collection which other programs may use. Its [Migrator.Up] and
// [Migrator.Plan] refuse neither documents that are no intents nor a validator of somebody else.
func (m *Migrator) Adopt() *Migrator {
	adopting := *m
	adopting.adopt = true
	return &adopting
}

// refuseForeign returns an error that wraps [ErrForeign] if the collection was never an outbox, and holds what is no
// intent or has somebody else's validator. Making it an outbox would break that program's inserts, and workers would
// take its documents for malformed intents.
func (m *Migrator) refuseForeign(ctx context.Context, s state, found *live) error {
	info, exists := found.collections[m.outbox]
	if m.adopt || !exists || s.Version > 0 || !ordinary(info) {
		return nil
	}
	validator := latest().contract.validator()
	ours, err := bson.Marshal(registeredIn(info.Options.Validator).validator(validator))
	if err != nil {
		return fmt.Errorf("encoding the validator of %s: %w", m.outbox, err)
	}
	if bytes.Equal(ours, info.Options.Validator) {
		return nil // restored without its record
	}
	const remedy = "choose another name with --collection, or take the collection over with --adopt"
	if len(info.Options.Validator) > 5 { // an empty document has five bytes
		return fmt.Errorf("database %s: collection %s has a validator that outboxd did not set, so another program uses it; %s: %w", m.db.Name(), m.outbox, remedy, ErrForeign)
	}
	n, example, err := m.count(ctx, "looking for documents that are no intents", bson.D{{Key: "$nor", Value: bson.A{validator}}})
	switch {
	case err != nil:
		return err
	case n > 0:
		return fmt.Errorf("database %s: collection %s holds documents that are no intents by the contract (%s, such as the one with %s); "+
			"outboxd would refuse that program's inserts and make dead letters of its documents; %s: %w", m.db.Name(), m.outbox, counted(n, "document"), example, remedy, ErrForeign)
	}
	return nil
}

// refuseLost returns an error that wraps [ErrNamespaceLost] if the outbox has begun intents, but neither a record of
// its schema nor a namespace. Such a database was restored without the meta collection. A new namespace would hide
// from the worker what those intents have at the providers already.
func (m *Migrator) refuseLost(ctx context.Context, s state, found *live) error {
	if info, exists := found.collections[m.outbox]; !exists || !ordinary(info) || s.Version > 0 || s.namespace != "" {
		return nil
	}
	n, example, err := m.openProgress(ctx)
	if err != nil || n == 0 {
		return err
	}
	return fmt.Errorf("database %s: %s of collection %s have begun at a provider, such as %s, but %s does not hold the outbox's namespace; "+
		"restore %s from the backup, or write the namespace back, which anything that a provider got from this outbox has as outbox_ns: "+
		"db.%s.insertOne({_id: %q, value: \"…\"}); docs/backup.md tells more: %w",
		m.db.Name(), counted(n, "intent"), m.outbox, example, m.layout.meta, m.layout.meta, m.layout.meta, namespaceID, ErrNamespaceLost)
}

// Drift returns what is not as this version needs it, one phrase each: objects that are missing, hidden or changed,
// and a namespace that is not there. [Migrator.Up] mends it, or says what is in its way. Drift changes nothing.
func (m *Migrator) Drift(ctx context.Context) ([]string, error) {
	s, err := m.state(ctx)
	if err != nil {
		return nil, err
	}
	found, err := read(ctx, m.db, m.layout)
	if err != nil {
		return nil, err
	}
	var drift []string
	for _, o := range m.objects(m.wanted(s.known(found, m.outbox))) {
		c, err := o.change(found)
		switch {
		case err != nil:
			drift = append(drift, err.Error())
		case c != nil:
			drift = append(drift, o.id()+" is missing or was changed: "+c.text)
		}
	}
	if s.namespace == "" {
		drift = append(drift, "the outbox has no namespace")
	}
	return drift, nil
}

// Endangered returns one sentence for each TTL index of somebody else on the outbox or a side collection. The database
// deletes by it, whatever it is for: intents that wait, dead letters, or the namespace.
func (m *Migrator) Endangered(ctx context.Context) ([]string, error) {
	found, err := read(ctx, m.db, m.layout)
	if err != nil {
		return nil, err
	}
	return m.foreignTTL(found), nil
}

func (m *Migrator) foreignTTL(found *live) []string {
	var list []string
	for _, collection := range []string{m.layout.outbox, m.layout.meta, m.layout.lanes, m.layout.workers} {
		for name, ix := range found.indexes[collection] {
			if _, err := ix.LookupErr("expireAfterSeconds"); err != nil || collection == m.layout.outbox && name == IndexTTL {
				continue
			}
			list = append(list, fmt.Sprintf("the index %s of collection %s on %s is not outboxd's, and the database deletes documents by it, also intents that wait; drop it: db.%s.dropIndex(%q)",
				name, collection, ix.Lookup("key"), collection, name))
		}
	}
	slices.Sort(list)
	return list
}
