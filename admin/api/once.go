package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/outboxd/outboxd/admin"
)

const (
	idempotencyKey = "Idempotency-Key"
	maxKey         = 255
)

// Answers keeps the answers to changes that carried a key, where every admin process sees them.
type Answers interface {
	// Reserve makes the key this request's, and returns zero values. If it was used before, it returns what was sent
	// then and the answer, whose Status is 0 while the first request is still under way.
	Reserve(ctx context.Context, key, print string) (before string, kept admin.Answer, err error)
	// Keep keeps the answer; Release forgets the key, for nothing was done.
	Keep(ctx context.Context, key string, answer admin.Answer) error
	Release(ctx context.Context, key string) error
}

// once serves a change whose client may send it again: the second time it gets the first answer. A key belongs to a
// person and a path. An answer that says nothing of the change, such as 403 or 503, is not kept.
func (a *API) once(w http.ResponseWriter, r *http.Request) {
	header := r.Header.Get(idempotencyKey)
	if len(header) > maxKey || a.config.Answers == nil {
		write(w, transport(http.StatusBadRequest, "bad_key", "%s must have at most %d bytes, and a process that keeps answers", idempotencyKey, maxKey))
		return
	}
	actor, ok := a.config.Actor(r, admin.RoleRead)
	if !ok {
		a.carryOut(w, r) // it refuses
		return
	}
	body, err := io.ReadAll(r.Body)
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		write(w, transport(http.StatusRequestEntityTooLarge, "body_too_large", "the body is too large"))
		return
	}
	if err != nil {
		write(w, transport(http.StatusBadRequest, "bad_body", "the body ended before its end"))
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	key := digest(actor.Via, actor.Who, r.URL.Path, header)
	print := digest(r.Header.Get("Content-Type"), string(body))
	before, kept, err := a.config.Answers.Reserve(r.Context(), key, print)
	switch {
	case err != nil:
		write(w, a.replyTo(r.Context(), "keep answers", err))
		return
	case before != "" && before != print:
		write(w, transport(http.StatusConflict, "key_reused", "this %s came with another body before; take a new key for a new change", idempotencyKey))
		return
	case before != "" && kept.Status == 0:
		w.Header().Set("Retry-After", "1")
		write(w, transport(http.StatusConflict, "key_in_use", "the first request with this %s is still under way", idempotencyKey))
		return
	case before != "":
		w.Header().Set("Content-Type", kept.Type)
		w.Header().Set("Idempotent-Replayed", "true")
		w.WriteHeader(kept.Status)
		_, _ = w.Write(kept.Body) // the client has gone
		return
	}
	answer := &recorder{ResponseWriter: w, status: http.StatusOK}
	a.carryOut(answer, r)
	ctx := context.WithoutCancel(r.Context()) // what was done is kept, though the client left
	if s := answer.status; s/100 == 2 || s == http.StatusUnprocessableEntity {
		err = a.config.Answers.Keep(ctx, key, admin.Answer{Status: s, Type: w.Header().Get("Content-Type"), Body: answer.body.Bytes()})
	} else {
		err = a.config.Answers.Release(ctx, key)
	}
	if err != nil {
		a.log.ErrorContext(ctx, "an answer could not be kept; the same request may be carried out again after a minute", "error", err)
	}
}

// recorder keeps what is answered.
type recorder struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

// WriteHeader notes the status.
func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// Write notes the body.
func (r *recorder) Write(p []byte) (int, error) {
	r.body.Write(p)
	return r.ResponseWriter.Write(p)
}

// digest makes one short text of several, none of which can pass for another's part.
func digest(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		sum := sha256.Sum256([]byte(part))
		h.Write(sum[:]) // a hash's Write never fails
	}
	return strings.ToLower(hex.EncodeToString(h.Sum(nil)))
}
