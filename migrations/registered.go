package migrations

import (
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
)

const (
	kindsID   = "kinds"            // _id of the registered kinds in the meta collection
	kindsRule = "registered kinds" // title of the rule in the validator
)

// registered is the list of kinds that the validator lets in. It is data of the database, not of a version: the
// programs of one outbox may serve kinds that outboxd does not know.
type registered struct {
	Any   bool     `bson:"any"`   // every kind may come
	Kinds []string `bson:"kinds"` // beside those of the contract, sorted
}

func (r registered) equal(other registered) bool {
	return r.Any == other.Any && slices.Equal(r.Kinds, other.Kinds)
}

// all returns the kinds of the contract and the registered ones.
func (r registered) all() []string { return slices.Concat(latest().contract.kinds, r.Kinds) }

// Register returns a migrator whose [Migrator.Up] registers kinds beside those of the contract and those that are
// registered already. The validator refuses an intent or a follow-up of any other kind, which nobody would ever serve.
func (m *Migrator) Register(kinds ...string) *Migrator {
	registering := *m
	registering.kinds.Kinds = slices.Concat(m.kinds.Kinds, kinds)
	return &registering
}

// AnyKind returns a migrator whose [Migrator.Up] lets every kind in, from now on.
func (m *Migrator) AnyKind() *Migrator {
	any := *m
	any.kinds.Any = true
	return &any
}

// ForgetKinds returns a migrator that forgets what is registered in the database, whether every kind may come among it.
// What [Migrator.Register] and [Migrator.AnyKind] add counts.
func (m *Migrator) ForgetKinds() *Migrator {
	forgetting := *m
	forgetting.forget = true
	return &forgetting
}

// wanted returns what is to be registered, where have is what the database holds; nil: nothing yet.
func (m *Migrator) wanted(have *registered) registered {
	want := m.kinds
	if have != nil && !m.forget {
		want.Any = want.Any || have.Any
		want.Kinds = slices.Concat(want.Kinds, have.Kinds)
	}
	want.Kinds = slices.DeleteFunc(slices.Clone(want.Kinds), func(kind string) bool {
		return kind == "" || slices.Contains(latest().contract.kinds, kind)
	})
	slices.Sort(want.Kinds)
	want.Kinds = slices.Compact(want.Kinds)
	return want
}

// registerStep writes the list. It comes before the validator, which is made of it.
func (m *Migrator) registerStep(want registered) Step {
	text := "register the kinds " + strings.Join(want.all(), ", ")
	if want.Any {
		text = "let every kind in"
	}
	update := bson.D{
		{Key: "q", Value: bson.D{{Key: "_id", Value: kindsID}}},
		{Key: "u", Value: bson.D{{Key: "$set", Value: bson.D{
			{Key: "any", Value: want.Any}, {Key: "kinds", Value: append([]string{}, want.Kinds...)}}}}},
		{Key: "upsert", Value: true},
	}
	return Step{Text: text, brief: true,
		Command: bson.D{{Key: "update", Value: m.layout.meta}, {Key: "updates", Value: bson.A{update}}, durable}}
}

// objects returns the objects of all versions, with the registered kinds in the outbox's validator.
func (m *Migrator) objects(r registered) []object {
	list := m.layout.objects()
	for i, o := range list {
		if c, ok := o.(collection); ok && c.name == m.outbox {
			c.validator = r.validator(c.validator)
			list[i] = c
		}
	}
	return list
}

// validator adds the rule of the kinds to the contract's. It concerns what a producer or the worker inserts, and
// nothing that a worker has claimed or that has ended: whatever is there must be settled, and may be cancelled.
func (r registered) validator(contract bson.D) bson.D {
	if r.Any {
		return contract
	}
	out := slices.Clone(contract)
	for i, e := range out {
		if e.Key == "$and" {
			out[i].Value = append(slices.Clone(e.Value.(bson.A)), bson.D{{Key: "$or", Value: bson.A{
				bson.D{{Key: "$jsonSchema", Value: r.rule(0)}},
				bson.D{{Key: "status", Value: bson.D{{Key: "$ne", Value: "pending"}}}},
				bson.D{{Key: "first_attempt_at", Value: bson.D{{Key: "$exists", Value: true}}}},
			}}})
		}
	}
	return out
}

// known returns the kinds that are registered. Where the record was lost, they are still in the validator.
func (s state) known(found *live, outbox string) *registered {
	if s.kinds != nil || s.Version == 0 && found.collections[outbox].Options.Validator == nil {
		return s.kinds
	}
	in := registeredIn(found.collections[outbox].Options.Validator)
	in.Any = false // so it was before there was a list
	return &in
}

// registeredIn returns the kinds that a validator lets in.
func registeredIn(validator bson.Raw) registered {
	rules, _ := validator.Lookup("$and").ArrayOK()
	list, _ := rules.Values()
	for _, item := range list {
		first := item.Document().Lookup("$or", "0", "$jsonSchema")
		schema, ok := first.DocumentOK()
		if title, _ := schema.Lookup("title").StringValueOK(); !ok || title != kindsRule {
			continue
		}
		var r registered
		kinds, _ := schema.Lookup("properties", "kind", "enum").ArrayOK()
		values, _ := kinds.Values()
		for _, v := range values {
			if kind, _ := v.StringValueOK(); !slices.Contains(latest().contract.kinds, kind) {
				r.Kinds = append(r.Kinds, kind)
			}
		}
		return r
	}
	return registered{Any: true}
}

// rule says which kinds an intent, and its follow-ups down to the deepest level, may have.
func (r registered) rule(level int) rule {
	text := "kind must be one that is registered: " + strings.Join(r.all(), ", ") +
		". To register another one, add it to `kinds` in the workers' file and run `outboxd migrate`."
	fields := bson.D{{Key: "kind", Value: described("kind", text, bson.E{Key: "enum", Value: names(r.all())})}}
	all := rule{{Key: "properties", Value: fields}}
	if level < v1FollowUps {
		all = append(all, bson.E{Key: "patternProperties", Value: bson.D{
			{Key: v1FollowUpsPattern, Value: rule{{Key: "items", Value: r.rule(level + 1)}}}}})
	}
	if level == 0 {
		return described(kindsRule, text, all...)
	}
	return all
}
