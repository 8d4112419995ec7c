package outbox

import (
	"encoding/hex"
	"fmt"
)

// IDType tells which of the types that the contract allows an [ID] has in the database.
type IDType byte

// The types of an intent's _id.
const (
	StringID   IDType = iota + 1 // a string of 1 to 200 bytes
	ObjectID                     // BSON ObjectId
	UUIDBinary                   // BSON binary of subtype 4
)

// letter is how an idempotency key tells the type (contract, "Identity").
func (t IDType) letter() string {
	switch t {
	case ObjectID:
		return "o"
	case UUIDBinary:
		return "u"
	default:
		return "s"
	}
}

// MaxIDBytes is the longest string that may be an intent's _id.
const MaxIDBytes = 200

// ID is an intent's identity. It is comparable, and its zero value is no identity. Two ids of different types are
// different even where their text is the same.
type ID struct {
	typ  IDType
	text string
}

// NewStringID returns the ID of a string.
func NewStringID(s string) ID { return ID{StringID, s} }

// NewObjectID returns the ID of an ObjectId.
func NewObjectID(b [12]byte) ID { return ID{ObjectID, hex.EncodeToString(b[:])} }

// NewUUID returns the ID of a UUID.
func NewUUID(b [16]byte) ID {
	h := hex.EncodeToString(b[:])
	return ID{UUIDBinary, h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]}
}

// Type returns the type that the id has in the database, 0 for the zero ID.
func (id ID) Type() IDType { return id.typ }

// String returns the text from which the provider's idempotency key is derived: hex of an ObjectId, a UUID's canonical
// form, or the string itself.
func (id ID) String() string { return id.text }

// IsZero reports whether id is the zero ID.
func (id ID) IsZero() bool { return id.typ == 0 }

// Bytes returns the binary form of an ObjectId (12 bytes) or a UUID (16 bytes), and nil for a string.
func (id ID) Bytes() []byte {
	text := id.text
	switch id.typ {
	case ObjectID:
	case UUIDBinary:
		text = text[:8] + text[9:13] + text[14:18] + text[19:23] + text[24:]
	default:
		return nil
	}
	b, err := hex.DecodeString(text)
	if err != nil { // both constructors write hex
		panic(fmt.Sprintf("outbox: id %q is not hex", id.text))
	}
	return b
}
