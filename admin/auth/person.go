package auth

import (
	"context"
	"slices"
)

// Person is who calls. It is a value and safe to copy.
type Person struct {
	Name string // of the token, of the OpenID account, or as the proxy says
	Via  string // "token", "oidc", "proxy" or "loopback"
	Role string // the names of the roles, in order, separated by a comma
	From string // the address that the request came from

	grants []Role
	only   Right // caps all grants; empty: no cap
}

// Can reports whether the person has the right for at least one kind.
func (p Person) Can(right Right) bool {
	return slices.ContainsFunc(p.grants, func(g Role) bool { return p.has(g, right) })
}

// CanFor reports whether the person has the right for intents of the kind.
func (p Person) CanFor(right Right, kind string) bool {
	return slices.ContainsFunc(p.grants, func(g Role) bool {
		return p.has(g, right) && (len(g.Kinds) == 0 || slices.Contains(g.Kinds, kind))
	})
}

// KindsFor returns the kinds for which the person has the right. All is true where no role limits them.
func (p Person) KindsFor(right Right) (kinds []string, all bool) {
	for _, g := range p.grants {
		if !p.has(g, right) {
			continue
		}
		if len(g.Kinds) == 0 {
			return nil, true
		}
		kinds = append(kinds, g.Kinds...)
	}
	slices.Sort(kinds)
	return slices.Compact(kinds), false
}

func (p Person) has(g Role, right Right) bool {
	return (p.only == "" || p.only == right) && slices.Contains(g.Rights, right)
}

type personKey struct{}

// From returns the person whom the guard let in. Ok is false outside of a guard.
func From(ctx context.Context) (p Person, ok bool) {
	p, ok = ctx.Value(personKey{}).(Person)
	return p, ok
}

func with(ctx context.Context, p Person) context.Context {
	return context.WithValue(ctx, personKey{}, p)
}
