package term

import "strings"

// Wrap breaks a text into lines of at most Width columns, each with the indent before it.
func Wrap(text, indent string) string {
	var lines []string
	line := indent
	for word := range strings.FieldsSeq(Clean(text)) {
		if line != indent && len([]rune(line))+1+len([]rune(word)) > Width {
			lines = append(lines, line)
			line = indent
		}
		if line != indent {
			line += " "
		}
		line += word
	}
	return strings.Join(append(lines, Cut(line, Width)), "\n")
}
