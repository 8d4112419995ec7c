package auth

import (
	"fmt"
	"slices"
	"strings"
)

// Right is one thing that a person may do. Rights are a set: none implies another.
type Right string

// The rights.
const (
	Read    Right = "read"    // see everything but payloads
	Reveal  Right = "reveal"  // see payloads, with a reason
	Operate Right = "operate" // pause, retry, cancel, resolve, discard
	Approve Right = "approve" // be the second person, and retry what is final
)

// Rights lists them all.
func Rights() []Right { return []Right{Read, Reveal, Operate, Approve} }

// Role is what a role's name stands for in the configuration.
type Role struct {
	Rights []Right
	Kinds  []string // the kinds that it is limited to; empty: all
}

// Roles are the roles by name.
type Roles map[string]Role

// DefaultRoles returns one role for each right. Each of them may also read.
func DefaultRoles() Roles {
	roles := make(Roles)
	for _, r := range Rights() {
		roles[string(r)] = Role{Rights: slices.Compact([]Right{Read, r})}
	}
	return roles
}

// Check returns an error that names the first role with a right that does not exist.
func (r Roles) Check() error {
	for name, role := range r {
		if len(role.Rights) == 0 {
			return fmt.Errorf("role %s has no rights; name some of %s", name, list(Rights()))
		}
		for _, right := range role.Rights {
			if !slices.Contains(Rights(), right) {
				return fmt.Errorf("role %s has the right %q, which does not exist; name some of %s", name, right, list(Rights()))
			}
		}
	}
	return nil
}

func list(rights []Right) string {
	names := make([]string, len(rights))
	for i, r := range rights {
		names[i] = string(r)
	}
	return strings.Join(names, ", ")
}
