package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/cmd/api/payments"
	"github.com/outboxd/outboxd/providers/simulator"
)

// ended is one intent as the database has it at the end.
type ended struct {
	ID         string `bson:"_id"`
	Kind       string
	Status     string
	DeadReason string `bson:"dead_reason"`
	Attempts   int
	LastError  struct{ Code string } `bson:"last_error"`
	Payload    struct{ To, Body string }
	effects    int
}

// became says how the intent ended.
func (e *ended) became() string {
	if e.Status == "dead" {
		return e.Status + ": " + e.DeadReason
	}
	return e.Status
}

// reckoning compares what the database says with what the world noticed.
type reckoning struct {
	intents  []*ended
	groups   []*group
	sides    []*side
	problems []string
}

// group is what became of the intents of one act.
type group struct {
	name, kind, want  string
	intents           int
	became            map[string]int
	least, most       int // attempts
	effects           int
	wantEffectsOfEach int
}

// side is one provider's side of the account.
type side struct {
	provider, kind                          string
	effects, done, ambiguous, twice, nobody int
}

// balanced reports whether the provider's effects are those of the intents that are done, and of the ambiguous ones
// that did act.
func (s *side) balanced() bool {
	return s.effects == s.done+s.ambiguous && s.twice == 0 && s.nobody == 0
}

// reckon reads everything and compares.
func (s *stage) reckon(ctx context.Context, acts []*act, c *cast) (*reckoning, error) {
	cursor, err := s.outbox().Find(ctx, bson.D{})
	if err != nil {
		return nil, fmt.Errorf("read the intents: %w", err)
	}
	var raw []bson.Raw
	if err := cursor.All(ctx, &raw); err != nil {
		return nil, fmt.Errorf("read the intents: %w", err)
	}
	r := new(reckoning)
	for _, doc := range raw {
		r.intents = append(r.intents, readEnded(doc))
	}
	r.match(s.sims.Sim.Effects())
	r.group(acts, c)
	return r, s.checkPayments(ctx, r, c)
}

// checkPayments checks that each payment was told what became of its charge (write_back).
func (s *stage) checkPayments(ctx context.Context, r *reckoning, c *cast) error {
	cursor, err := s.db.Collection(payments.Collection).Find(ctx, bson.D{})
	if err != nil {
		return fmt.Errorf("read the payments: %w", err)
	}
	var all []struct {
		ID    string `bson:"_id"`
		State payments.State
	}
	if err := cursor.All(ctx, &all); err != nil {
		return fmt.Errorf("read the payments: %w", err)
	}
	for _, p := range all {
		want := payments.StateFailed
		if c.roles["charge:"+p.ID].want == done {
			want = payments.StatePaid
		}
		if p.State != want {
			r.problem("payment %s is %s, must be %s", p.ID, p.State, want)
		}
	}
	return nil
}

// readEnded reads what is needed of a document, which may be malformed.
func readEnded(doc bson.Raw) *ended {
	text := func(path ...string) string { v, _ := doc.Lookup(path...).StringValueOK(); return v }
	attempts, _ := doc.Lookup("attempts").AsInt64OK()
	e := &ended{ID: text("_id"), Kind: text("kind"), Status: text("status"), DeadReason: text("dead_reason"), Attempts: int(attempts)}
	e.LastError.Code = text("last_error", "code")
	e.Payload.To, e.Payload.Body = text("payload", "to"), text("payload", "body")
	return e
}

// match gives each effect to its intent, and draws each provider's account. Twilio has no field for our id, so a text
// is known by its number and words, which no two intents share.
func (r *reckoning) match(effects []simulator.Effect) {
	byID, byText := make(map[string]*ended), make(map[string]*ended)
	for _, e := range r.intents {
		byID[e.ID] = e
		if e.Kind == "sms" {
			byText[e.Payload.To+"\x00"+e.Payload.Body] = e
		}
	}
	for _, kind := range kinds {
		account := &side{provider: kind.provider, kind: kind.name}
		for _, effect := range effects {
			if effect.Provider != kind.provider {
				continue
			}
			account.effects++
			e := byID[effect.OutboxID]
			if e == nil {
				e = byText[effect.To+"\x00"+effect.Body]
			}
			if e == nil || e.Kind != kind.name {
				account.nobody++
				r.problem("%s had an effect that belongs to no intent: %s", kind.provider, effect.ID)
				continue
			}
			e.effects++
		}
		for _, e := range r.intents {
			if e.Kind == kind.name {
				r.account(account, e)
			}
		}
		r.sides = append(r.sides, account)
	}
}

// account books one intent.
func (r *reckoning) account(a *side, e *ended) {
	a.twice += max(0, e.effects-1)
	switch {
	case e.effects > 1:
		r.problem("%s had %d effects", e.ID, e.effects)
	case e.Status == "done" && e.effects == 0:
		r.problem("%s is done and had no effect", e.ID)
	case e.became() == ambiguous:
	case e.Status != "done" && e.effects > 0:
		r.problem("%s is %s and had an effect", e.ID, e.became())
	case e.Status == "pending" || e.Status == "leased":
		r.problem("%s is still %s", e.ID, e.Status)
	}
	switch {
	case e.Status == "done":
		a.done++
	case e.became() == ambiguous && e.effects > 0:
		a.ambiguous++
	}
}

func (r *reckoning) problem(format string, args ...any) {
	r.problems = append(r.problems, fmt.Sprintf(format, args...))
}

// group sorts the intents by act. Follow-ups are acts of their own: each payment brings its own along.
func (r *reckoning) group(acts []*act, c *cast) {
	byAct := make(map[*act]*group)
	for _, a := range acts {
		g := &group{name: a.name, kind: a.kind, want: a.want, wantEffectsOfEach: a.effect}
		byAct[a] = g
		r.groups = append(r.groups, g)
	}
	followUps := map[string]*group{
		":done:0": {name: "receipt by e-mail (on_done)", kind: "email", want: done, wantEffectsOfEach: 1},
		":done:1": {name: "receipt by SMS (on_done)", kind: "sms", want: done, wantEffectsOfEach: 1},
		":dead:0": {name: "notice that it failed (on_dead)", kind: "email", want: done, wantEffectsOfEach: 1},
	}
	for _, e := range r.intents {
		if role, ok := c.roles[e.ID]; ok {
			r.join(byAct[role.act], e)
			continue
		}
		i := max(0, len(e.ID)-len(":done:0"))
		if g, ok := followUps[e.ID[i:]]; ok && strings.HasPrefix(e.ID, "charge:") {
			r.join(g, e)
			continue
		}
		r.problem("%s was written by nobody", e.ID)
	}
	for _, suffix := range []string{":done:0", ":done:1", ":dead:0"} {
		r.groups = append(r.groups, followUps[suffix])
	}
	r.complete(acts, c)
	slices.SortStableFunc(r.groups, func(a, b *group) int { return cmp.Compare(order(a.kind), order(b.kind)) })
}

// join adds an intent to its group and checks that it ended as it must.
func (r *reckoning) join(g *group, e *ended) {
	if g.became == nil {
		g.became, g.least = make(map[string]int), e.Attempts
	}
	g.intents++
	g.became[e.became()]++
	g.least, g.most = min(g.least, e.Attempts), max(g.most, e.Attempts)
	g.effects += e.effects
	if e.became() != g.want || e.effects != g.wantEffectsOfEach {
		r.problem("%s (%s) is %s with %d effects and the error %q, must be %s with %d", e.ID, g.name, e.became(), e.effects, e.LastError.Code, g.want, g.wantEffectsOfEach)
	}
}

// complete checks that nothing is missing: what was written, and what a payment brings along.
func (r *reckoning) complete(acts []*act, c *cast) {
	have := make(map[string]bool)
	for _, e := range r.intents {
		have[e.ID] = true
	}
	for id, role := range c.roles {
		wanted := []string{id}
		switch {
		case role.api && role.want == done:
			wanted = append(wanted, id+":done:0", id+":done:1")
		case role.api:
			wanted = append(wanted, id+":dead:0")
		}
		for _, id := range wanted {
			if !have[id] {
				r.problem("%s (%s) is missing", id, role.name)
			}
		}
	}
	written := 0
	for _, a := range acts {
		written += a.count
	}
	if len(c.roles) != written {
		r.problem("%d intents were written, must be %d", len(c.roles), written)
	}
}

func order(kind string) int {
	return slices.IndexFunc(kinds, func(k struct{ name, provider string }) bool { return k.name == kind })
}

// err returns what does not fit, nil if everything does.
func (r *reckoning) err() error {
	for _, s := range r.sides {
		if !s.balanced() {
			r.problem("%s: %d effects are not %d done + %d ambiguous that did act", s.provider, s.effects, s.done, s.ambiguous)
		}
	}
	if len(r.problems) == 0 {
		return nil
	}
	const most = 10
	shown := r.problems[:min(most, len(r.problems))]
	text := fmt.Sprintf("the numbers do not match, in %d places:\n  %s", len(r.problems), strings.Join(shown, "\n  "))
	if len(shown) < len(r.problems) {
		text += "\n  …"
	}
	return errors.New(text)
}
