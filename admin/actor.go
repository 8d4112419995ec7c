package admin

import "slices"

// Role is a right that an [Actor] has. Roles are a set: none includes another.
type Role string

// The roles.
const (
	RoleRead    Role = "read"    // everything but payloads
	RoleReveal  Role = "reveal"  // payloads, with a reason
	RoleOperate Role = "operate" // pause, resume, rate, retry, cancel, resolve, discard
	RoleApprove Role = "approve" // the second person of a job, and what the provider refused for good
)

// Roles returns all roles.
func Roles() []Role { return []Role{RoleRead, RoleReveal, RoleOperate, RoleApprove} }

// Actor is the person who asks for something, as well as whoever let them in knows.
type Actor struct {
	Who       string
	Via       string // a token's name, "oidc", "proxy", "cli", "loopback"
	From      string // the address that the request came from
	Roles     []Role
	Kinds     []string // the kinds that they may touch; empty: all
	RequestID string
}

// Has reports whether the actor has the role.
func (a Actor) Has(r Role) bool { return slices.Contains(a.Roles, r) }

// MayKind reports whether the actor may touch intents of the kind.
func (a Actor) MayKind(kind string) bool { return len(a.Kinds) == 0 || slices.Contains(a.Kinds, kind) }

// roles returns the names of the roles.
func (a Actor) roles() []string {
	names := make([]string, len(a.Roles))
	for i, r := range a.Roles {
		names[i] = string(r)
	}
	return names
}
