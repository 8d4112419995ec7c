package main

import (
	"bytes"

	"github.com/Shopify/toxiproxy/v2/stream"
	"github.com/Shopify/toxiproxy/v2/toxics"
)

// rewriteType is the name under which toxiproxy knows it.
const rewriteType = "rewrite"

// rewrite replaces texts in what passes by others of the same length.
type rewrite struct {
	From []string `json:"from"`
	To   []string `json:"to"`
}

// rest is what was held back of a connection, since it may be the beginning of a text to replace. No message of MongoDB
// ends with such a beginning, so nobody waits for it: each ends with the zero byte that ends its document.
type rest struct{ held []byte }

// NewState makes what one connection needs.
func (r *rewrite) NewState() any { return new(rest) }

// Pipe replaces until the connection ends or toxiproxy changes what is between its ends.
func (r *rewrite) Pipe(stub *toxics.ToxicStub) {
	state := stub.State.(*rest)
	for {
		select {
		case <-stub.Interrupt:
			return
		case c := <-stub.Input:
			if c == nil {
				if len(state.held) > 0 {
					stub.Output <- &stream.StreamChunk{Data: state.held}
				}
				stub.Close()
				return
			}
			if data := r.next(state, c.Data); len(data) > 0 {
				stub.Output <- &stream.StreamChunk{Data: data, Timestamp: c.Timestamp}
			}
		}
	}
}

// next returns what may go on once data has come.
func (r *rewrite) next(state *rest, data []byte) []byte {
	data = append(state.held, data...)
	for i, from := range r.From {
		data = bytes.ReplaceAll(data, []byte(from), []byte(r.To[i]))
	}
	hold := 0
	for _, from := range r.From {
		for n := min(len(from)-1, len(data)); n > hold; n-- {
			if bytes.HasSuffix(data, []byte(from[:n])) {
				hold = n
			}
		}
	}
	pass := len(data) - hold
	state.held = bytes.Clone(data[pass:])
	return data[:pass]
}
