package simulator

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
)

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// newID is prefix and n random letters and digits. Identifiers are random so that those of two runs never meet in one
// database; nothing that a test checks depends on them.
func newID(prefix string, n int) string {
	id := make([]byte, 0, len(prefix)+n)
	id = append(id, prefix...)
	for range n {
		id = append(id, base62[rand.IntN(len(base62))])
	}
	return string(id)
}

// newSID is prefix and 32 hexadecimal digits, as Twilio's identifiers are.
func newSID(prefix string) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], rand.Uint64())
	binary.BigEndian.PutUint64(b[8:], rand.Uint64())
	return prefix + hex.EncodeToString(b[:])
}
