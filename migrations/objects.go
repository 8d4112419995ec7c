package migrations

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// object is one thing of the database that the schema describes.
type object interface {
	id() string
	// change returns what must be done so that the database has the object as described; nil if it has.
	change(live *live) (*change, error)
}

// change is one command that brings one object to its description.
type change struct {
	text    string
	command bson.D
	brief   bool // needs an exclusive lock for a moment only, so waiting for it long means that something is in the way
}

// live is what the database holds.
type live struct {
	collections map[string]collectionInfo
	indexes     map[string]map[string]bson.Raw // by collection and name
}

type collectionInfo struct {
	Name    string `bson:"name"`
	Type    string `bson:"type"`
	Options struct {
		Validator        bson.Raw `bson:"validator"`
		ValidationLevel  string   `bson:"validationLevel"`
		ValidationAction string   `bson:"validationAction"`
		Capped           bool     `bson:"capped"`
		Collation        bson.Raw `bson:"collation"`
		Clustered        bson.Raw `bson:"clusteredIndex"`
		ViewOn           string   `bson:"viewOn"`
		Pipeline         bson.Raw `bson:"pipeline"`
	} `bson:"options"`
}

// ordinary reports whether it is a collection that can hold intents. One with a collation compares kinds and keys
// otherwise than outboxd does, and a clustered one can delete its documents by their _id.
func ordinary(info collectionInfo) bool {
	return info.Type == "collection" && !info.Options.Capped && info.Options.Collation == nil && info.Options.Clustered == nil
}

// read reads the collections and views of the layout, and their indexes.
func read(ctx context.Context, db *mongo.Database, l layout) (*live, error) {
	found := &live{collections: map[string]collectionInfo{}, indexes: map[string]map[string]bson.Raw{}}
	cursor, err := db.ListCollections(ctx, bson.D{{Key: "name", Value: bson.D{{Key: "$in", Value: bson.A{l.outbox, l.dead, l.lanes, l.workers, l.rates, l.jobs, l.audit, l.sessions, l.answers, l.meta}}}}})
	if err != nil {
		return nil, fmt.Errorf("listing the collections of database %s: %w", db.Name(), err)
	}
	var infos []collectionInfo
	if err := cursor.All(ctx, &infos); err != nil {
		return nil, fmt.Errorf("listing the collections of database %s: %w", db.Name(), err)
	}
	for _, info := range infos {
		found.collections[info.Name] = info
	}
	for _, name := range []string{l.outbox, l.meta, l.lanes, l.workers, l.rates, l.jobs, l.audit, l.sessions, l.answers} {
		if found.collections[name].Type != "collection" {
			continue
		}
		cursor, err := db.Collection(name).Indexes().List(ctx)
		if err != nil {
			return nil, fmt.Errorf("listing the indexes of %s.%s: %w", db.Name(), name, err)
		}
		var indexes []bson.Raw
		if err := cursor.All(ctx, &indexes); err != nil {
			return nil, fmt.Errorf("listing the indexes of %s.%s: %w", db.Name(), name, err)
		}
		found.indexes[name] = map[string]bson.Raw{}
		for _, ix := range indexes {
			found.indexes[name][ix.Lookup("name").StringValue()] = ix
		}
	}
	return found, nil
}

// durable is the write concern of every schema command: another process may build on it at once.
var durable = bson.E{Key: "writeConcern", Value: bson.D{{Key: "w", Value: "majority"}, {Key: "j", Value: true}}}

// collection is a collection, with a validator or without one.
type collection struct {
	name      string
	validator bson.D
}

func (c collection) id() string { return "collection " + c.name }

// Level moderate leaves documents alone that an older validator let in: a worker must be able to settle those.
const (
	validationLevel  = "moderate"
	validationAction = "error"
)

func (c collection) change(live *live) (*change, error) {
	var rules bson.D
	if c.validator != nil {
		rules = bson.D{{Key: "validator", Value: c.validator}, {Key: "validationLevel", Value: validationLevel}, {Key: "validationAction", Value: validationAction}}
	}
	info, exists := live.collections[c.name]
	if !exists {
		text := "create collection " + c.name
		if c.validator != nil {
			text += " with the contract as its validator"
		}
		return &change{text: text, brief: true, command: append(append(bson.D{{Key: "create", Value: c.name}}, rules...), durable)}, nil
	}
	if !ordinary(info) {
		return nil, fmt.Errorf("%s exists, but is no ordinary collection (type %s, capped %t, collation %t, clustered %t): rename it, or choose another name with --collection",
			c.name, info.Type, info.Options.Capped, info.Options.Collation != nil, info.Options.Clustered != nil)
	}
	if c.validator == nil {
		return nil, nil
	}
	want, err := bson.Marshal(c.validator)
	if err != nil {
		return nil, fmt.Errorf("encoding the validator of %s: %w", c.name, err)
	}
	if bytes.Equal(want, info.Options.Validator) && info.Options.ValidationLevel == validationLevel && info.Options.ValidationAction == validationAction {
		return nil, nil
	}
	return &change{text: "set the contract as validator of collection " + c.name, brief: true,
		command: append(append(bson.D{{Key: "collMod", Value: c.name}}, rules...), durable)}, nil
}

// index is an index of a collection.
type index struct {
	collection  string
	name        string
	keys        bson.D
	partial     bson.D
	unique      bool
	expireAfter *int32 // seconds
}

func (ix index) id() string { return "index " + ix.collection + "." + ix.name }

func (ix index) spec() bson.D {
	d := bson.D{{Key: "key", Value: ix.keys}, {Key: "name", Value: ix.name}}
	if ix.unique {
		d = append(d, bson.E{Key: "unique", Value: true})
	}
	if ix.expireAfter != nil {
		d = append(d, bson.E{Key: "expireAfterSeconds", Value: *ix.expireAfter})
	}
	return append(d, bson.E{Key: "partialFilterExpression", Value: ix.partial})
}

func (ix index) change(live *live) (*change, error) {
	if have, exists := live.indexes[ix.collection][ix.name]; exists {
		same, err := ix.same(have)
		if err != nil {
			return nil, err
		}
		if hidden, _ := have.Lookup("hidden").BooleanOK(); same && hidden {
			return &change{text: fmt.Sprintf("unhide index %s of %s", ix.name, ix.collection), brief: true, command: bson.D{{Key: "collMod", Value: ix.collection},
				{Key: "index", Value: bson.D{{Key: "name", Value: ix.name}, {Key: "hidden", Value: false}}}, durable}}, nil
		}
		if same {
			return nil, nil
		}
		return nil, fmt.Errorf("index %s of collection %s is not the one that outboxd needs; drop it (db.%s.dropIndex(%q)) and migrate again", ix.name, ix.collection, ix.collection, ix.name)
	}
	text := fmt.Sprintf("create index %s on %s %s", ix.name, ix.collection, keyText(ix.keys))
	if ix.unique {
		text += ", unique"
	}
	if ix.expireAfter != nil {
		text += fmt.Sprintf(", TTL %d s", *ix.expireAfter)
	}
	return &change{text: text + ", partial",
		command: bson.D{{Key: "createIndexes", Value: ix.collection}, {Key: "indexes", Value: bson.A{ix.spec()}}, durable}}, nil
}

// same compares what decides the index's meaning; a server may add and reorder the rest.
func (ix index) same(have bson.Raw) (bool, error) {
	want, err := bson.Marshal(ix.spec())
	if err != nil {
		return false, fmt.Errorf("encoding index %s: %w", ix.name, err)
	}
	for _, field := range []string{"key", "unique", "sparse", "collation", "expireAfterSeconds", "partialFilterExpression"} {
		w, h := bson.Raw(want).Lookup(field), have.Lookup(field)
		if field == "expireAfterSeconds" { // stored as int32 or int64
			wn, wok := w.AsInt64OK()
			hn, hok := h.AsInt64OK()
			if wok != hok || wn != hn {
				return false, nil
			}
			continue
		}
		if !w.Equal(h) {
			return false, nil
		}
	}
	return true, nil
}

// view is a read-only view of a collection.
type view struct {
	name, on string
	pipeline bson.A
}

func (v view) id() string { return "view " + v.name }

func (v view) change(live *live) (*change, error) {
	definition := bson.D{{Key: "viewOn", Value: v.on}, {Key: "pipeline", Value: v.pipeline}}
	info, exists := live.collections[v.name]
	if !exists {
		return &change{text: fmt.Sprintf("create view %s on %s", v.name, v.on), brief: true,
			command: append(append(bson.D{{Key: "create", Value: v.name}}, definition...), durable)}, nil
	}
	if info.Type != "view" {
		return nil, fmt.Errorf("%s exists, but is no view: rename it, or choose another name with --collection", v.name)
	}
	raw, err := bson.Marshal(definition)
	if err != nil {
		return nil, fmt.Errorf("encoding view %s: %w", v.name, err)
	}
	if info.Options.ViewOn == v.on && bytes.Equal(info.Options.Pipeline, bson.Raw(raw).Lookup("pipeline").Value) {
		return nil, nil
	}
	return &change{text: "change view " + v.name, brief: true,
		command: append(append(bson.D{{Key: "collMod", Value: v.name}}, definition...), durable)}, nil
}

// keys builds an index's keys or a sort from names and directions.
func keys(pairs ...any) bson.D {
	var d bson.D
	for i := 0; i < len(pairs); i += 2 {
		d = append(d, bson.E{Key: pairs[i].(string), Value: int32(pairs[i+1].(int))})
	}
	return d
}

func keyText(d bson.D) string {
	parts := make([]string, len(d))
	for i, e := range d {
		parts[i] = fmt.Sprintf("%s: %v", e.Key, e.Value)
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// explain adds to an error of the server what a person can do about it.
func explain(err error) error {
	se, ok := errors.AsType[mongo.ServerError](err)
	switch {
	case !ok:
		return err
	case se.HasErrorCode(codeDuplicateKey):
		return fmt.Errorf("documents with the same key exist; find and remove the duplicates, then migrate again: %w", err)
	case se.HasErrorCode(codeIndexOptionsConflict), se.HasErrorCode(codeIndexKeySpecsConflict):
		return fmt.Errorf("an index with the same keys or name but other options exists; drop it and migrate again: %w", err)
	}
	return err
}
