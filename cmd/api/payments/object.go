package payments

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"unicode/utf8"
)

// maxDepth is how deep a body may nest. No field of an order holds another; the bound keeps a hostile body cheap.
const maxDepth = 32

const (
	errNotObject = Unreadable("the body must be one JSON object")
	errNotText   = Unreadable("the body must be valid UTF-8, and its escapes must be whole characters")
	errRepeated  = Unreadable("the body names a field twice; JSON does not say which of the two counts")
	errTooDeep   = Unreadable("the body nests too deep")
)

// readObject reads one JSON object strictly. encoding/json takes the last of two fields with one name, and replaces
// what is no character: either way the order would not be what was sent. Its error is an [Unreadable].
func readObject(data []byte) (map[string]any, error) {
	if !utf8.Valid(data) || hasLoneSurrogate(data) {
		return nil, errNotText
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	v, err := readValue(dec, 0)
	if err != nil {
		if u, ok := errors.AsType[Unreadable](err); ok {
			return nil, u
		}
		return nil, errNotObject
	}
	object, ok := v.(map[string]any)
	if _, err := dec.Token(); !ok || !errors.Is(err, io.EOF) {
		return nil, errNotObject
	}
	return object, nil
}

func readValue(dec *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, errTooDeep
	}
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('{'):
		return readFields(dec, depth)
	case json.Delim('['):
		list := []any{}
		for dec.More() {
			item, err := readValue(dec, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, item)
		}
		_, err := dec.Token()
		return list, err
	default:
		return token, nil
	}
}

func readFields(dec *json.Decoder, depth int) (map[string]any, error) {
	fields := make(map[string]any)
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return nil, err
		}
		name, ok := token.(string)
		if !ok {
			return nil, errNotObject
		}
		if _, there := fields[name]; there {
			return nil, errRepeated
		}
		if fields[name], err = readValue(dec, depth+1); err != nil {
			return nil, err
		}
	}
	_, err := dec.Token()
	return fields, err
}

// hasLoneSurrogate reports whether an escape stands for half a character, such as \ud83d alone.
func hasLoneSurrogate(data []byte) bool {
	for i := 0; i+1 < len(data); i++ {
		if data[i] != '\\' {
			continue
		}
		i++
		if data[i] != 'u' {
			continue
		}
		switch unit := escape(data[i-1:]); {
		case unit >= 0xd800 && unit < 0xdc00:
			if low := escape(data[min(i+5, len(data)):]); low < 0xdc00 || low > 0xdfff {
				return true
			}
			i += 10
		case unit >= 0xdc00 && unit <= 0xdfff:
			return true
		}
	}
	return false
}

// escape returns the code unit of the \uXXXX that data begins with, else 0.
func escape(data []byte) uint64 {
	if len(data) < 6 || data[0] != '\\' || data[1] != 'u' {
		return 0
	}
	unit, err := strconv.ParseUint(string(data[2:6]), 16, 16)
	if err != nil {
		return 0
	}
	return unit
}
