package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/cmd/internal/extjson"
	"github.com/outboxd/outboxd/outbox"
)

// Bounds of the server that checks documents.
const (
	mostPosted      = 16 << 20         // bytes of one request: what a document of MongoDB has at most
	postedWithin    = 10 * time.Second // for a request to arrive, and for its answer to be read
	validatorLeaves = 5 * time.Second  // for requests under way, after the signal
)

// serve answers POST / with what is wrong with the posted documents, until it is told to end.
func (c validateCmd) serve(p *program, rules outbox.Rules) error {
	addr, err := netip.ParseAddrPort(c.Serve)
	if err != nil {
		return wrongUse("--serve takes an address and a port, such as 127.0.0.1:8429: %w", err)
	}
	if !addr.Addr().IsLoopback() {
		return wrongUse("--serve is for tests on this machine: %s is no loopback address, such as 127.0.0.1", addr.Addr())
	}
	ctx, stop := p.interruptible()
	defer stop()
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", addr.String())
	if err != nil {
		return fmt.Errorf("listen for documents to check: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{$}", func(w http.ResponseWriter, r *http.Request) { c.answer(w, r, rules) })
	server := &http.Server{
		Handler:     mux,
		ReadTimeout: postedWithin, WriteTimeout: postedWithin, IdleTimeout: time.Minute,
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }() // waited for below
	if _, err = fmt.Fprintf(p.out, "http://%s\n", ln.Addr()); err == nil {
		select {
		case <-ctx.Done():
		case err = <-served:
			return fmt.Errorf("check documents: %w", err)
		}
	}
	leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), validatorLeaves)
	defer cancel()
	err = errors.Join(err, server.Shutdown(leaving))
	if served := <-served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// answer checks the documents of one request.
func (c validateCmd) answer(w http.ResponseWriter, r *http.Request, rules outbox.Rules) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, mostPosted))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		http.Error(w, fmt.Sprintf("the request is larger than %d bytes", mostPosted), http.StatusRequestEntityTooLarge)
		return
	}
	if err != nil {
		http.Error(w, "the request cannot be read", http.StatusBadRequest)
		return
	}
	documents, broken := extjson.Parse(text)
	if broken != nil {
		http.Error(w, broken.Error(), http.StatusBadRequest)
		return
	}
	if len(documents) == 0 {
		http.Error(w, "the request holds no document", http.StatusBadRequest)
		return
	}
	all, list := true, bson.A{}
	for _, d := range documents {
		reasons, kind, err := c.check(d, rules)
		if err != nil {
			http.Error(w, "a document cannot be read", http.StatusBadRequest)
			return
		}
		all = all && len(reasons) == 0
		list = append(list, told(d, kind, reasons))
	}
	body, err := bson.MarshalExtJSON(bson.D{{Key: "valid", Value: all}, {Key: "documents", Value: list}}, false, false)
	if err != nil {
		http.Error(w, "the answer cannot be written", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(append(body, '\n')) // whoever does not read it wants no answer
}
