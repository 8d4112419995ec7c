package page

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

//go:embed assets/*.css assets/*.js assets/*.svg assets/vendor/*.js assets/vendor/*.css
var files embed.FS

// assets are the files that pages load, by name. An asset's URL names its content, so browsers keep it for good.
type assets map[string]asset

type asset struct {
	content []byte
	kind    string
	sum     string
}

func loadAssets() (assets, error) {
	a := make(assets)
	err := fs.WalkDir(files, "assets", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(content)
		kind := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}[path.Ext(name)]
		a[path.Base(name)] = asset{content, kind, hex.EncodeToString(sum[:8])}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the embedded assets: %w", err)
	}
	return a, nil
}

// path returns where the page finds an asset.
func (a assets) path(name string) string { return "/assets/" + a[name].sum + "-" + name }

func (a assets) serve(w http.ResponseWriter, r *http.Request) {
	sum, name, _ := strings.Cut(r.PathValue("name"), "-")
	f, ok := a[name]
	if !ok || f.sum != sum {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", f.kind)
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	_, _ = w.Write(f.content) // the browser has gone
}
