package auth

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Proxy is a proxy in front that has signed people in, and names them in headers. It has to remove these headers from
// what comes in from outside.
type Proxy struct {
	From   []netip.Prefix    // where the proxy's connections come from
	User   string            // header with the name, such as X-Forwarded-User
	Groups string            // header with groups, separated by commas; empty: everybody has Role
	Role   string            // role of everybody that the proxy lets through; empty: Roles decides alone
	Roles  map[string]string // role of each group
}

// errForged says that a header of the proxy came from elsewhere. It is an attack or a mistake in the configuration.
var errForged = errors.New("a header that only the proxy may set came from another address")

// Check returns an error where the configuration cannot work.
func (p *Proxy) Check() error {
	switch {
	case p.User == "":
		return errors.New("proxy.user is missing: the header in which the proxy names the person")
	case len(p.From) == 0:
		return errors.New("proxy.from is missing: the networks that the proxy's connections come from")
	case p.Role == "" && (p.Groups == "" || len(p.Roles) == 0):
		return errors.New("proxy gives nobody a role: set proxy.role, or proxy.groups and proxy.roles")
	}
	for _, n := range p.From {
		if n.Bits() == 0 {
			return fmt.Errorf("proxy.from: %s is everybody; name the proxy's own network", n)
		}
	}
	return nil
}

func (p *Proxy) trusts(peer netip.Addr) bool {
	return slices.ContainsFunc(p.From, func(n netip.Prefix) bool { return n.Contains(peer) })
}

// person reads the headers of a request that came from peer. Ok is false where there is no such header.
func (p *Proxy) person(r *http.Request, peer netip.Addr) (name string, roles []string, ok bool, err error) {
	users := r.Header.Values(p.User)
	var groups []string
	if p.Groups != "" {
		groups = r.Header.Values(p.Groups)
	}
	if len(users) == 0 && len(groups) == 0 {
		return "", nil, false, nil
	}
	if !p.trusts(peer) {
		return "", nil, false, errForged
	}
	if len(users) != 1 || users[0] == "" || len(groups) > 1 {
		return "", nil, false, errors.New("the proxy must send each of its headers once")
	}
	if p.Role != "" {
		roles = append(roles, p.Role)
	}
	for group := range strings.SplitSeq(strings.Join(groups, ","), ",") {
		if role := p.Roles[strings.TrimSpace(group)]; role != "" && !slices.Contains(roles, role) {
			roles = append(roles, role)
		}
	}
	return users[0], roles, true, nil
}

// peerOf returns the address at the other end of the connection.
func peerOf(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}

// clientOf returns the address to count failures by: the peer's, or what a trusted proxy says last.
func (p *Proxy) clientOf(r *http.Request, peer netip.Addr) string {
	if p == nil || !p.trusts(peer) {
		return peer.String()
	}
	all := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	if a, err := netip.ParseAddr(strings.TrimSpace(all[len(all)-1])); err == nil {
		return a.Unmap().WithZone("").String()
	}
	return peer.String()
}
