// Package extjson reads documents that people keep in files: MongoDB Extended JSON, relaxed or canonical, of which
// plain JSON is a part.
//
// A file holds one document, an array of documents, or one document after another, such as one on each line. Each is
// returned with the line of each of its fields, so that what is wrong can be found. No error and no problem repeats a
// value of the file: it may be a telephone number.
package extjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/outbox"
)

// maxDocument is the size of the largest document that MongoDB stores ("MongoDB Limits and Thresholds").
const maxDocument = 16 << 20

// Document is one document of a file.
type Document struct {
	Line     int              // where it begins, from 1
	BSON     bson.Raw         // nil where Problems say why it cannot be read
	Problems []outbox.Problem // of the text: what no document in a database could have

	lines map[string]int
}

// LineOf returns the line of the field that a path names, such as on_done.0.payload.to. For a field that is not there
// it is the line of the nearest one around it.
func (d *Document) LineOf(path string) int {
	for around := path; around != ""; around = around[:max(0, strings.LastIndexByte(around, '.'))] {
		if line, ok := d.lines[around]; ok {
			return line
		}
	}
	return d.Line
}

// SyntaxError is returned for a text that is no JSON.
type SyntaxError struct {
	Line int
	Err  error
}

// Error names the line and what is wrong there.
func (e *SyntaxError) Error() string { return fmt.Sprintf("line %d is not JSON: %v", e.Line, e.Err) }

func (e *SyntaxError) Unwrap() error { return e.Err }

// Parse returns the documents of a text. After a [SyntaxError] the documents in front of it are returned as well.
func Parse(text []byte) ([]*Document, error) {
	p := &parser{text: bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))}
	p.dec = json.NewDecoder(bytes.NewReader(p.text))
	p.dec.UseNumber()
	for at, c := range p.text {
		if c == '\n' {
			p.breaks = append(p.breaks, at)
		}
	}
	err := p.file()
	if errors.Is(err, io.EOF) {
		return p.documents, nil
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("it ends within a value")
	}
	return p.documents, &SyntaxError{p.line(), err}
}

type parser struct {
	text      []byte
	breaks    []int // where lines end
	dec       *json.Decoder
	documents []*Document
}

// line returns that of the token that was read last.
func (p *parser) line() int { return 1 + sort.SearchInts(p.breaks, int(p.dec.InputOffset())) }

func (p *parser) file() error {
	for {
		token, err := p.dec.Token()
		if err != nil {
			return err
		}
		if token != json.Delim('[') {
			if err := p.document(token); err != nil {
				return err
			}
			continue
		}
		for p.dec.More() {
			element, err := p.dec.Token()
			if err == nil {
				err = p.document(element)
			}
			if err != nil {
				return unexpected(err)
			}
		}
		if _, err := p.dec.Token(); err != nil {
			return unexpected(err)
		}
	}
}

// unexpected is for an end of the file where something has to follow.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// document reads one document, whose first token was read.
func (p *parser) document(first json.Token) error {
	d := &Document{Line: p.line(), lines: make(map[string]int)}
	begin := int(p.dec.InputOffset()) - 1
	if err := p.value(d, first, ""); err != nil {
		return unexpected(err)
	}
	p.documents = append(p.documents, d)
	if first != json.Delim('{') {
		d.problem("", "is no document: a document begins with {")
		return nil
	}
	d.convert(p.text[begin:p.dec.InputOffset()])
	return nil
}

// value reads one value, whose first token was read, and notes the lines of what is in it.
func (p *parser) value(d *Document, first json.Token, path string) error {
	switch first {
	case json.Delim('{'):
		names := make(map[string]bool)
		for p.dec.More() {
			name, err := p.dec.Token()
			if err != nil {
				return err
			}
			field, _ := name.(string) // the decoder allows no other
			at := join(path, field)
			if names[field] {
				d.problem(at, "stands here twice")
			}
			names[field] = true
			if _, known := d.lines[at]; !known {
				d.lines[at] = p.line()
			}
			if err := p.next(d, at); err != nil {
				return err
			}
		}
	case json.Delim('['):
		for i := 0; p.dec.More(); i++ {
			if err := p.next(d, join(path, strconv.Itoa(i))); err != nil {
				return err
			}
		}
	default:
		return nil
	}
	_, err := p.dec.Token() // the closing bracket
	return err
}

func (p *parser) next(d *Document, path string) error {
	token, err := p.dec.Token()
	if err != nil {
		return err
	}
	if _, named := d.lines[path]; !named {
		d.lines[path] = p.line()
	}
	return p.value(d, token, path)
}

func join(path, step string) string {
	if path == "" {
		return step
	}
	return path + "." + step
}

func (d *Document) problem(path, text string) {
	if path != "" {
		path = outbox.SafePath(path)
	}
	d.Problems = append(d.Problems, outbox.Problem{Path: path, Text: text})
}

// convert makes BSON of the document's text.
func (d *Document) convert(text []byte) {
	if !utf8.Valid(text) {
		d.problem("", "is not UTF-8")
		return
	}
	raw, err := toBSON(text)
	switch {
	case err != nil:
		d.problem(unreadable(text, ""), "is not Extended JSON: a $date, $oid, $uuid or the like has the wrong form, or a number is out of range")
	case len(raw) > maxDocument:
		d.problem("", fmt.Sprintf("has %d bytes; MongoDB stores at most %d", len(raw), maxDocument))
	default:
		d.BSON = raw
	}
}

func toBSON(text []byte) (bson.Raw, error) {
	var d bson.D
	if err := bson.UnmarshalExtJSON(text, false, &d); err != nil {
		return nil, err
	}
	return bson.Marshal(d)
}

// unreadable returns the path of the innermost value that is no Extended JSON. The driver's error cannot be shown: it
// repeats the value.
func unreadable(text []byte, path string) string {
	type child struct {
		step string
		text json.RawMessage
	}
	var children []child
	var fields map[string]json.RawMessage
	var elements []json.RawMessage
	switch {
	case json.Unmarshal(text, &fields) == nil:
		for step, text := range fields {
			children = append(children, child{step, text})
		}
		slices.SortFunc(children, func(a, b child) int { return strings.Compare(a.step, b.step) })
	case json.Unmarshal(text, &elements) == nil:
		for i, text := range elements {
			children = append(children, child{strconv.Itoa(i), text})
		}
	}
	for _, c := range children {
		if strings.HasPrefix(c.step, "$") { // the value is this document as a whole
			return path
		}
		if _, err := toBSON(slices.Concat([]byte(`{"x":`), c.text, []byte(`}`))); err != nil {
			return unreadable(c.text, join(path, c.step))
		}
	}
	return path
}
