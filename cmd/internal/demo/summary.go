package demo

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/outboxd/outboxd/cmd/internal/term"
)

// write tells what happened to each act's intents, and closes with the account of each provider.
func (r *reckoning) write(w io.Writer, style term.Style) error {
	acts := term.NewTable(term.Column{Name: "WHAT THEY MET", Flex: true}, term.Column{Name: "KIND"}, term.Column{Name: "INTENTS", Right: true},
		term.Column{Name: "BECAME", Flex: true}, term.Column{Name: "ATTEMPTS", Right: true}, term.Column{Name: "EFFECTS", Right: true})
	for _, g := range r.groups {
		mark := style.Green
		switch {
		case len(g.became) != 1 || g.became[g.want] != g.intents || g.effects != g.intents*g.wantEffectsOfEach:
			mark = style.Red
		case g.want != done:
			mark = style.Yellow
		}
		acts.Mark(mark, g.name, g.kind, strconv.Itoa(g.intents), became(g.became), span(g.least, g.most), strconv.Itoa(g.effects))
	}
	if err := acts.Write(w, style); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "\n%s\n", term.Wrap("Effects are what the world noticed: money moved, e-mails and texts accepted. Each provider must have had as many as there are intents that are done, plus the ambiguous ones that did act.", "")); err != nil {
		return err
	}
	accounts := term.NewTable(term.Column{Name: "PROVIDER"}, term.Column{Name: "EFFECTS", Right: true}, term.Column{Name: "DONE", Right: true},
		term.Column{Name: "AMBIGUOUS, DID ACT", Right: true}, term.Column{Name: "TWICE", Right: true}, term.Column{Name: "NOBODY'S", Right: true}, term.Column{Name: ""})
	for _, s := range r.sides {
		verdict, mark := "equal", style.Green
		if !s.balanced() {
			verdict, mark = "NOT EQUAL", style.Red
		}
		accounts.Mark(mark, s.provider, strconv.Itoa(s.effects), strconv.Itoa(s.done), strconv.Itoa(s.ambiguous), strconv.Itoa(s.twice), strconv.Itoa(s.nobody), verdict)
	}
	if _, err := io.WriteString(w, "\n"); err != nil {
		return err
	}
	return accounts.Write(w, style)
}

// became lists how the intents of an act ended.
func became(all map[string]int) string {
	if len(all) == 1 {
		for what := range all {
			return what
		}
	}
	var parts []string
	for _, what := range slices.Sorted(maps.Keys(all)) {
		parts = append(parts, fmt.Sprintf("%d %s", all[what], what))
	}
	return strings.Join(parts, ", ")
}

func span(least, most int) string {
	if least == most {
		return strconv.Itoa(least)
	}
	return fmt.Sprintf("%d–%d", least, most)
}
