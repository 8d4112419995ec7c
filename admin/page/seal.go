package page

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"
)

const macBytes = 16

// idOf writes an intent's name so that it fits a path. Names may hold anything.
func idOf(name string) string { return base64.RawURLEncoding.EncodeToString([]byte(name)) }

// nameOf reads what idOf wrote.
func nameOf(id string) (string, bool) {
	name, err := base64.RawURLEncoding.Strict().DecodeString(id)
	return string(name), err == nil && len(name) > 0
}

// seal signs the position at which a page of a list ends. It is good for that list alone: what a store takes as a
// position is never a client's word.
func (p *Page) seal(list, position string) string {
	if position == "" {
		return ""
	}
	return idOf(position) + "." + base64.RawURLEncoding.EncodeToString(p.mac(list, position))
}

func (p *Page) unseal(list, cursor string) (position string, ok bool) {
	if cursor == "" {
		return "", true
	}
	text, sum, _ := strings.Cut(cursor, ".")
	position, named := nameOf(text)
	mac, err := base64.RawURLEncoding.DecodeString(sum)
	return position, named && err == nil && hmac.Equal(mac, p.mac(list, position))
}

func (p *Page) mac(list, position string) []byte {
	h := hmac.New(sha256.New, p.config.CursorKey)
	h.Write([]byte("page\x00" + list + "\x00" + position)) // a hash's Write never fails
	return h.Sum(nil)[:macBytes]
}
