package providers

import (
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// version is a path's segment that names the version of an API: v1, V3, v1.1, v2beta, 2010-04-01.
var version = regexp.MustCompile(`(?i)^(v\d+(\.\d+)*((alpha|beta|rc)\d*)?|\d{4}-\d{2}-\d{2})$`)

// BaseURL checks a provider's address and returns it without a slash at its end. It must be absolute, http or https,
// without user, query and fragment; a path is kept, for a gateway in between. It must not hold the version of an API,
// which the requests add themselves. The error does not repeat the address, which may hold a credential.
func BaseURL(raw string) (string, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return "", errors.New("the URL cannot be read")
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		return "", errors.New("the URL must be absolute and begin with http:// or https://")
	case u.User != nil, u.RawQuery != "", u.ForceQuery, u.Fragment != "":
		return "", errors.New("the URL must have no user, query or fragment")
	case slices.ContainsFunc(strings.Split(u.Path, "/"), version.MatchString):
		return "", errors.New("the URL must not hold the version of the API (such as /v1, /v3 or /2010-04-01), which every request adds itself")
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// CallbackURL checks an address that a provider is asked to call back. It must be absolute, http or https, and without
// fragment; a query is kept. The error does not repeat the address, which may hold a credential.
func CallbackURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || u.Fragment != "" {
		return nil, errors.New("the URL must be absolute, begin with http:// or https://, and have no fragment")
	}
	return u, nil
}
