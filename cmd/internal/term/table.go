package term

import (
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

const gap = "  "

// Column is one column of a [Table].
type Column struct {
	Name  string
	Right bool // numbers
	Flex  bool // gives way where the table would be too wide
	Whole bool // on a terminal alone is the table bounded: who reads from a pipe needs all of it
}

// Table is rows under a heading. Cells are cleaned; what does not fit is cut and ends in "…".
type Table struct {
	columns []Column
	rows    [][]string
	marks   []func(string) string
}

// NewTable returns an empty table.
func NewTable(columns ...Column) *Table { return &Table{columns: columns} }

// Row adds a row with a cell for each column.
func (t *Table) Row(cells ...string) { t.Mark(nil, cells...) }

// Mark adds a row that is coloured as a whole by mark.
func (t *Table) Mark(mark func(string) string, cells ...string) {
	row := make([]string, len(t.columns))
	for i := range row {
		if i < len(cells) {
			row[i] = Clean(cells[i])
		}
	}
	t.rows, t.marks = append(t.rows, row), append(t.marks, mark)
}

// Write writes the table.
func (t *Table) Write(w io.Writer, style Style) error {
	widths := t.widths(IsTerminal(w))
	heading := make([]string, len(t.columns))
	for i, c := range t.columns {
		heading[i] = c.Name
	}
	var b strings.Builder
	b.WriteString(style.Bold(t.line(heading, widths)) + "\n")
	for i, row := range t.rows {
		line := t.line(row, widths)
		if mark := t.marks[i]; mark != nil {
			line = mark(line)
		}
		b.WriteString(line + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (t *Table) line(cells []string, widths []int) string {
	var b strings.Builder
	for i, cell := range cells {
		cell = Cut(cell, widths[i])
		pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
		if i > 0 {
			b.WriteString(gap)
		}
		if t.columns[i].Right {
			b.WriteString(pad + cell)
		} else {
			b.WriteString(cell + pad)
		}
	}
	return strings.TrimRight(b.String(), " ")
}

// widths gives each column what its widest cell needs, and takes from the flexible ones what is beyond Width.
func (t *Table) widths(terminal bool) []int {
	widths := make([]int, len(t.columns))
	total := len(gap) * (len(t.columns) - 1)
	for i, c := range t.columns {
		widths[i] = utf8.RuneCountInString(c.Name)
		for _, row := range t.rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
		total += widths[i]
	}
	if !terminal && slices.ContainsFunc(t.columns, func(c Column) bool { return c.Whole }) {
		return widths
	}
	for _, flexible := range []bool{true, false} { // the others give way only where nothing else is left
		for i := len(t.columns) - 1; i >= 0 && total > Width; i-- {
			if t.columns[i].Flex != flexible {
				continue
			}
			least := min(widths[i], max(8, utf8.RuneCountInString(t.columns[i].Name)))
			give := min(total-Width, widths[i]-least)
			widths[i] -= give
			total -= give
		}
	}
	return widths
}

// Cut shortens a text to at most n columns.
func Cut(text string, n int) string {
	if utf8.RuneCountInString(text) <= n {
		return text
	}
	runes := []rune(text)
	return string(runes[:max(0, n-1)]) + "…"
}
