// Package term writes for people: tables at most 100 columns wide, and colour where that is wanted.
//
// Colour is used only on a terminal, and never where NO_COLOR is set (no-color.org). What comes from documents may hold
// anything; characters that steer a terminal are replaced before they are written.
package term

import (
	"io"
	"os"
	"strings"
	"unicode"

	"golang.org/x/term"
)

// Width is how many columns human output has at most.
const Width = 100

// IsTerminal reports whether w is a terminal.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// IsInput reports whether r is a terminal that a person types at.
func IsInput(r io.Reader) bool {
	f, ok := r.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Style colours text, or leaves it as it is.
type Style struct{ on bool }

// NewStyle returns the style for w under an environment.
func NewStyle(w io.Writer, env func(string) string) Style {
	return Style{on: IsTerminal(w) && env("NO_COLOR") == "" && env("TERM") != "dumb"}
}

// Bold makes a heading.
func (s Style) Bold(text string) string { return s.wrap("1", text) }

// Dim makes text that matters less.
func (s Style) Dim(text string) string { return s.wrap("2", text) }

// Red marks what went wrong.
func (s Style) Red(text string) string { return s.wrap("31", text) }

// Green marks what went well.
func (s Style) Green(text string) string { return s.wrap("32", text) }

// Yellow marks what a person may want to look at.
func (s Style) Yellow(text string) string { return s.wrap("33", text) }

func (s Style) wrap(code, text string) string {
	if !s.on || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// Clean replaces control and formatting characters, so that no document can steer a terminal.
func Clean(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == unicode.ReplacementChar {
			return '?'
		}
		return r
	}, text)
}
