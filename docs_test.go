package outboxd_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

// markdown returns the text of each page of documentation by its path.
func markdown(t *testing.T) map[string]string {
	t.Helper()
	pages := make(map[string]string)
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules"):
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(path) != ".md":
			return nil
		}
		text, err := os.ReadFile(path)
		pages[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(pages) < 5 {
		t.Fatalf("found %d pages of documentation only", len(pages))
	}
	return pages
}

var (
	mdLink    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	mdHeading = regexp.MustCompile(`(?m)^#{1,6} +(.+?) *#*$`)
	mdCode    = regexp.MustCompile("(?s)```.*?```")
	mdInline  = regexp.MustCompile("`[^`\n]*`")
)

// anchors returns the anchors of a page's headings, as GitHub and most others make them.
func anchors(text string) map[string]bool {
	found := make(map[string]bool)
	for _, h := range mdHeading.FindAllStringSubmatch(mdCode.ReplaceAllString(text, ""), -1) {
		title := mdLink.ReplaceAllString(h[1], "]")
		anchor := strings.Map(func(c rune) rune {
			switch {
			case unicode.IsLetter(c) || unicode.IsDigit(c) || c == '-' || c == '_':
				return unicode.ToLower(c)
			case c == ' ':
				return '-'
			default:
				return -1
			}
		}, title)
		found[anchor] = true
	}
	return found
}

func TestDocumentationHasNoDeadLinks(t *testing.T) {
	t.Parallel()
	pages := markdown(t)
	for path, text := range pages {
		text = mdInline.ReplaceAllString(mdCode.ReplaceAllString(text, ""), "")
		for _, link := range mdLink.FindAllStringSubmatch(text, -1) {
			target, anchor, _ := strings.Cut(link[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			to := path
			if target != "" {
				to = filepath.Join(filepath.Dir(path), target)
				if _, err := os.Stat(to); err != nil {
					t.Errorf("%s: the link to %s leads nowhere", path, link[1])
					continue
				}
			}
			if anchor != "" && strings.HasSuffix(to, ".md") && !anchors(pages[to])[anchor] {
				t.Errorf("%s: the link to %s names a heading that is not there", path, link[1])
			}
		}
	}
}

func TestDeadLinksAreNoticed(t *testing.T) {
	t.Parallel()
	found := anchors("# What is guaranteed, and what cannot be\n```\n# no heading\n```\n## `dead retry` and [links](x.md)\n### On e-mail & SMS: why")
	for _, want := range []string{"what-is-guaranteed-and-what-cannot-be", "dead-retry-and-links", "on-e-mail--sms-why"} {
		if !found[want] {
			t.Errorf("no anchor %s in %v", want, found)
		}
	}
	if found["no-heading"] {
		t.Error("a line of code is taken for a heading")
	}
}
