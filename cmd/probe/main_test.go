package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestProbe(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ready":
		case "/elsewhere":
			http.Redirect(w, r, "/ready", http.StatusFound)
		case "/silent":
			<-r.Context().Done()
		default:
			http.Error(w, strings.Repeat("no primary ", 1000), http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	if err := probe(t.Context(), server.URL+"/ready"); err != nil {
		t.Error(err)
	}
	for path, want := range map[string]string{"/unready": "503 Service Unavailable: no primary", "/elsewhere": "302"} {
		err := probe(t.Context(), server.URL+path)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("probe of %s = %v, want %q", path, err, want)
		} else if len(err.Error()) > 2*reasonBytes {
			t.Errorf("probe of %s shows %d bytes", path, len(err.Error()))
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 1)
	defer cancel()
	if err := probe(ctx, server.URL+"/silent"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("probe of a silent server = %v", err)
	}
	if err := probe(t.Context(), "http://127.0.0.1:1/"); err == nil {
		t.Error("probe of nobody gave no error")
	}
}
