package api

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
)

const macBytes = 16

// seal makes a cursor opaque, and good for one list alone. What a store takes as a position is never a client's word.
func (a *API) seal(list, position string) string {
	if position == "" {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString([]byte(position)) + "." + base64.RawURLEncoding.EncodeToString(a.mac(list, position))
}

// unseal returns the position of a cursor that this API gave out.
func (a *API) unseal(list, cursor string) (string, error) {
	if cursor == "" {
		return "", nil
	}
	wrong := transport(http.StatusBadRequest, "bad_cursor", "the cursor `after` is not one of this list; begin at the first page")
	text, sum, ok := strings.Cut(cursor, ".")
	position, err := base64.RawURLEncoding.DecodeString(text)
	mac, macErr := base64.RawURLEncoding.DecodeString(sum)
	if !ok || err != nil || macErr != nil || !hmac.Equal(mac, a.mac(list, string(position))) {
		return "", wrong
	}
	return string(position), nil
}

func (a *API) mac(list, position string) []byte {
	h := hmac.New(sha256.New, a.config.CursorKey)
	h.Write([]byte(list + "\x00" + position)) // a hash's Write never fails
	return h.Sum(nil)[:macBytes]
}
