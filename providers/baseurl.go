package providers

import (
	"errors"
	"net/url"
	"strings"
)

// BaseURL checks a provider's address and returns it without a slash at its end. It must be absolute, http or https,
// without user, query and fragment; a path is kept, for a gateway in between. The error does not repeat the address,
// which may hold a credential.
func BaseURL(raw string) (string, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return "", errors.New("the URL cannot be read")
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		return "", errors.New("the URL must be absolute and begin with http:// or https://")
	case u.User != nil, u.RawQuery != "", u.ForceQuery, u.Fragment != "":
		return "", errors.New("the URL must have no user, query or fragment")
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
