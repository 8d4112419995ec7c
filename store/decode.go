package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/outbox"
)

// maxNesting is how deep documents are read. The contract needs less than thirty levels; what is deeper becomes
// unsupported, so that no document can exhaust the stack.
const maxNesting = 100

// Millions of small values fit into 16 MiB, and each takes far more memory than bytes: a lane full of such documents
// would take all that a machine has. So they are counted, and what has more is unsupported.
const (
	maxValues = 100_000 // under one field of the document
	maxFields = 1_000   // of the document itself
)

// owned are fields without which a claimed document cannot be settled. A claim appends some of them, so that they may
// stand behind any number of others.
var owned = []string{"_id", "kind", "status", "due_at", "lease", "attempts", "first_attempt_at"}

// errMany ends the reading of a field that has more than maxValues below it.
var errMany = errors.New("too many values")

// errMalformed is returned for bytes that are no BSON. A server never sends such.
var errMalformed = errors.New("malformed BSON")

// foreignID is an _id of a type that the contract does not allow. It stands in Document["_id"], where outbox.Parse
// reports it, so that the intent can still be settled by exactly that _id.
type foreignID struct{ bson.RawValue }

// decode reads a document into the values that outbox.Parse documents.
func decode(raw bson.Raw) (map[string]any, error) {
	doc, left := make(map[string]any), 0
	err := elements(raw, func(key []byte, t bson.Type, value []byte) error {
		name := string(key)
		if len(doc) >= maxFields && !slices.Contains(owned, name) {
			doc["more_fields"] = outbox.Unsupported{Type: "more fields than any intent has"}
			return nil
		}
		left = maxValues
		v, err := decodeValue(t, value, intentShape.of(name), 1, &left)
		if errors.Is(err, errMany) {
			v, err = outbox.Unsupported{Type: "document of too many values", Value: &bson.RawValue{Type: t, Value: bytes.Clone(value)}}, nil
		}
		doc[name] = v
		return err
	})
	if err != nil {
		return nil, err
	}
	switch doc["_id"].(type) {
	case outbox.ID, string:
	default:
		id, err := raw.LookupErr("_id")
		if err != nil {
			return nil, errMalformed
		}
		doc["_id"] = foreignID{bson.RawValue{Type: id.Type, Value: bytes.Clone(id.Value)}}
	}
	return doc, nil
}

// shape is what the contract says of a document's form. What has a form of its own is read into a map, and what a
// producer formed into fields in their order.
type shape int

const (
	wholeShape     shape = iota // a form of its own, down to its leaves
	intentShape                 // an intent or a follow-up
	writeBackShape              // the field write_back
	valuesShape                 // a form of its own with values of any form
	freeShape                   // any form
)

// of returns the shape of a field's value. An element of an array has that of the array.
func (s shape) of(field string) shape {
	switch {
	case s == valuesShape, s == freeShape, s == writeBackShape && field == "id":
		return freeShape
	case s == writeBackShape && (field == "done" || field == "dead" || field == "ambiguous"), s == intentShape && field == "payload":
		return valuesShape
	case s == intentShape && (field == "on_done" || field == "on_dead"):
		return intentShape
	case s == intentShape && field == "write_back":
		return writeBackShape
	default:
		return wholeShape
	}
}

// decodeDocument reads a document at the given depth; left is how many values may still come.
func decodeDocument(raw []byte, s shape, depth int, left *int) (any, error) {
	if s == freeShape {
		return decodeFields(raw, depth, left)
	}
	doc := make(map[string]any)
	err := elements(raw, func(key []byte, t bson.Type, value []byte) error {
		name := string(key)
		v, err := decodeValue(t, value, s.of(name), depth, left)
		doc[name] = v
		return err
	})
	return doc, err
}

func decodeFields(raw []byte, depth int, left *int) (outbox.Fields, error) {
	doc := outbox.Fields{}
	err := elements(raw, func(key []byte, t bson.Type, value []byte) error {
		v, err := decodeValue(t, value, freeShape, depth, left)
		doc = append(doc, outbox.Field{Name: string(key), Value: v})
		return err
	})
	return doc, err
}

func decodeArray(raw []byte, s shape, depth int, left *int) ([]any, error) {
	list := []any{}
	err := elements(raw, func(_ []byte, t bson.Type, value []byte) error {
		v, err := decodeValue(t, value, s, depth, left)
		list = append(list, v)
		return err
	})
	return list, err
}

// elements calls do for each element of a document or array, without copying anything.
func elements(raw []byte, do func(key []byte, t bson.Type, value []byte) error) error {
	if len(raw) < 5 || int64(binary.LittleEndian.Uint32(raw)) != int64(len(raw)) || raw[len(raw)-1] != 0 {
		return errMalformed
	}
	for rest := raw[4 : len(raw)-1]; len(rest) > 0; {
		t := bson.Type(rest[0])
		end := bytes.IndexByte(rest[1:], 0)
		if end < 0 {
			return errMalformed
		}
		key := rest[1 : 1+end]
		rest = rest[2+end:]
		size := valueSize(t, rest)
		if size < 0 || size > len(rest) {
			return errMalformed
		}
		if err := do(key, t, rest[:size]); err != nil {
			return err
		}
		rest = rest[size:]
	}
	return nil
}

// valueSize returns how many bytes the value at the beginning of rest takes, or a negative number.
func valueSize(t bson.Type, rest []byte) int {
	prefixed := func(extra int) int { // an int32 length, and so many bytes that it does not count
		if len(rest) < 4 {
			return -1
		}
		n := int(int32(binary.LittleEndian.Uint32(rest)))
		if n < 0 || n > len(rest) {
			return -1
		}
		return n + extra
	}
	switch t {
	case bson.TypeDouble, bson.TypeDateTime, bson.TypeInt64, bson.TypeTimestamp:
		return 8
	case bson.TypeString, bson.TypeJavaScript, bson.TypeSymbol:
		return prefixed(4)
	case bson.TypeEmbeddedDocument, bson.TypeArray, bson.TypeCodeWithScope:
		return prefixed(0)
	case bson.TypeBinary:
		return prefixed(5)
	case bson.TypeDBPointer:
		return prefixed(4 + 12)
	case bson.TypeObjectID:
		return 12
	case bson.TypeBoolean:
		return 1
	case bson.TypeInt32:
		return 4
	case bson.TypeDecimal128:
		return 16
	case bson.TypeNull, bson.TypeUndefined, bson.TypeMinKey, bson.TypeMaxKey:
		return 0
	case bson.TypeRegex:
		pattern := bytes.IndexByte(rest, 0)
		flags := bytes.IndexByte(rest[pattern+1:], 0)
		if pattern < 0 || flags < 0 {
			return -1
		}
		return pattern + 1 + flags + 1
	default:
		return -1
	}
}

// decodeValue reads one value of the given shape. depth is that of the document it stands in.
func decodeValue(t bson.Type, value []byte, s shape, depth int, left *int) (any, error) {
	if *left--; *left < 0 {
		return nil, errMany
	}
	switch t {
	case bson.TypeDouble:
		return math.Float64frombits(binary.LittleEndian.Uint64(value)), nil
	case bson.TypeString:
		if len(value) < 5 {
			return nil, errMalformed
		}
		return string(value[4 : len(value)-1]), nil
	case bson.TypeEmbeddedDocument:
		if depth < maxNesting {
			return decodeDocument(value, s, depth+1, left)
		}
	case bson.TypeArray:
		if depth < maxNesting {
			return decodeArray(value, s, depth+1, left)
		}
	case bson.TypeBinary:
		if value[4] == bson.TypeBinaryUUID && len(value) == 5+16 {
			return outbox.NewUUID([16]byte(value[5:])), nil
		}
	case bson.TypeObjectID:
		return outbox.NewObjectID([12]byte(value)), nil
	case bson.TypeBoolean:
		return value[0] != 0, nil
	case bson.TypeDateTime:
		at := time.UnixMilli(int64(binary.LittleEndian.Uint64(value))).UTC()
		if at.IsZero() { // the year 1 is a date like any other, and Go's zero time means that there is none
			at = at.Add(time.Nanosecond)
		}
		return at, nil
	case bson.TypeNull:
		return nil, nil
	case bson.TypeInt32:
		return int64(int32(binary.LittleEndian.Uint32(value))), nil
	case bson.TypeInt64:
		return int64(binary.LittleEndian.Uint64(value)), nil
	}
	return outbox.Unsupported{Type: typeName(t), Value: &bson.RawValue{Type: t, Value: bytes.Clone(value)}}, nil
}

// typeName returns the server's alias of a type that has no meaning in an intent.
func typeName(t bson.Type) string {
	switch t {
	case bson.TypeDecimal128:
		return "decimal"
	case bson.TypeBinary:
		return "binData"
	case bson.TypeRegex:
		return "regex"
	case bson.TypeTimestamp:
		return "timestamp"
	case bson.TypeJavaScript, bson.TypeCodeWithScope:
		return "javascript"
	case bson.TypeEmbeddedDocument, bson.TypeArray:
		return "document nested too deeply"
	default:
		return t.String()
	}
}
