package providers

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"

	"github.com/outboxd/outboxd/outbox"
)

const maxToken = 200

// Token returns a code or an id that came from a provider. It returns an empty string unless the text is of letters,
// digits, dot, dash and underscore, and of 200 bytes at most. Any other text in this place could be anything.
func Token(s string) string {
	if len(s) > maxToken || strings.ContainsFunc(s, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_')
	}) {
		return ""
	}
	return s
}

// Key returns an idempotency key as it can stand in an HTTP header. Keys of printable ASCII without spaces are taken
// as they are. HTTP or an SDK would cut or refuse others. Of those the digest is taken, so that two different intents
// never share a key.
func Key(key string) string {
	if Secret(key).Usable() {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Labels returns the labels for a provider that has room for them: the intent's own first, then the given maps in
// their order, each by name. fits says whether one more has room, and may shorten its value. A name that stands
// already is skipped, so that an earlier map wins over a later one.
func Labels(in *outbox.Intent, fits func(name, value string) (string, bool), more ...map[string]string) map[string]string {
	labels := map[string]string{}
	add := func(name, value string) {
		if _, there := labels[name]; there {
			return
		}
		if value, ok := fits(name, value); ok {
			labels[name] = value
		}
	}
	own := in.Labels()
	for _, name := range outbox.Reserved {
		if own[name] != "" {
			add(name, own[name])
		}
	}
	for _, m := range more {
		for _, name := range slices.Sorted(maps.Keys(m)) {
			add(name, m[name])
		}
	}
	return labels
}
