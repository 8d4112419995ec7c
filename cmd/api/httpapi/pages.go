package httpapi

import (
	"embed"
	"fmt"
	"mime"
	"net/http"
	"path"
)

//go:embed static
var static embed.FS

// pagePolicy lets a page load what this API serves, and nothing else: no inline script, nothing from elsewhere.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// plainRoutes registers what is no part of the described API: pages, health and metrics.
func (a *API) plainRoutes() error {
	for pattern, file := range map[string]string{
		"GET /{$}": "shop.html", "GET /shop.js": "shop.js", "GET /docs": "docs.html", "GET /docs.js": "docs.js", "GET /style.css": "style.css",
	} {
		data, err := static.ReadFile(path.Join("static", file))
		if err != nil {
			return fmt.Errorf("read a page: %w", err)
		}
		a.mux.Handle(pattern, content(mime.TypeByExtension(path.Ext(file)), data))
	}
	asYAML, err := a.OpenAPI()
	if err != nil {
		return fmt.Errorf("describe the API: %w", err)
	}
	asJSON, err := a.huma.OpenAPI().MarshalJSON()
	if err != nil {
		return fmt.Errorf("describe the API: %w", err)
	}
	a.mux.Handle("GET /openapi.yaml", content("application/yaml", asYAML))
	a.mux.Handle("GET /openapi.json", content(jsonType, asJSON))
	a.mux.HandleFunc("GET /healthz", func(_ http.ResponseWriter, r *http.Request) {
		exchangeOf(r.Context()).write(http.StatusOK, jsonType, map[string]bool{"ok": true})
	})
	a.mux.HandleFunc("GET /readyz", a.ready)
	a.mux.Handle("GET /metrics", a.metricsHandler())
	if a.simulators != nil {
		a.mux.HandleFunc("GET /simulator", a.simulators.show)
		a.mux.HandleFunc("POST /simulator", a.simulators.change)
	}
	return nil
}

func content(media string, data []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", media)
		w.Header().Set("Content-Security-Policy", pagePolicy)
		w.Header().Set("Referrer-Policy", "no-referrer")
		_, _ = w.Write(data) // a client that left
	})
}

func (a *API) ready(_ http.ResponseWriter, r *http.Request) {
	x := exchangeOf(r.Context())
	if reasons := a.cfg.Payments.Ready(r.Context()); len(reasons) > 0 {
		_ = x.fail(transport(http.StatusServiceUnavailable, "not ready").after(retryLater))
		x.write(http.StatusServiceUnavailable, problemType, struct {
			*problem
			Ready   bool     `json:"ready"`
			Reasons []string `json:"reasons"`
		}{x.outcome.(*problem), false, reasons})
		return
	}
	x.write(http.StatusOK, jsonType, map[string]bool{"ready": true})
}
