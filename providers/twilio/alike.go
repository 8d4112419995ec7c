package twilio

import (
	"html"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// alike reports whether two texts may be one text that was changed on its way. Twilio's Smart Encoding changes texts,
// and so do GSM's alphabet, Unicode's forms, spaces, quotes, HTML entities, and a notice put before the text. What is
// left of the one after that must stand in the other in the same order, and be at least half of it.
func alike(a, b string) bool {
	short, long := bare(a), bare(b)
	if len(short) > len(long) {
		short, long = long, short
	}
	if 2*len(short) < len(long) {
		return false
	}
	for _, r := range long {
		if len(short) == 0 {
			break
		}
		if r == short[0] {
			short = short[1:]
		}
	}
	return len(short) == 0
}

// bare returns the letters and digits of a text, without accents and in lower case.
func bare(s string) []rune {
	return []rune(strings.Map(func(r rune) rune {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return -1
		}
		return unicode.ToLower(r)
	}, norm.NFKD.String(html.UnescapeString(s))))
}
