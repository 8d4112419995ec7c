package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// summarise prints the totals for people.
func summarise(w io.Writer, out outcome) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	row("seed", "%d", out.Seed)
	row("length", "%s, then %s until everything had ended", out.Length, out.Settling)
	row("MongoDB", "%s", out.MongoDB)
	row("workers", "%d at once, %d processes", out.Workers, out.Started)
	row("faults", "%s", list(out.Faults))
	row("database", "%d outages, the longest %s; %d rollbacks", out.Outages, out.Longest, out.Rolled)
	row("transactions", "%s", list(out.Totals.Transactions))
	row("intents", "%s; %d of them follow-ups; %d not due yet", list(out.Totals.Intents), out.Totals.FollowUps, out.Totals.Waiting)
	row("ends", "%s", list(out.Totals.Ends))
	row("claims", "%d, %d of them of leases that ran out", out.Totals.Claims, out.Totals.Reclaims)
	row("write-backs", "%d", out.Totals.WriteBacks)
	row("recorded", "%d outcomes whose consequences had to wait", out.Totals.Recorded)
	row("too large", "%d refused before they were sent", out.Totals.Oversized)
	row("by hand", "%s", list(out.Totals.Hands))
	row("effects", "%s", list(out.Totals.Effects))
	row("duplicates", "%s", list(out.Totals.Duplicates))
	row("lost", "%d", out.Totals.Lost)
	row("charged twice", "%d", out.Totals.ChargedTwice)
	if err := t.Flush(); err != nil {
		return err
	}
	var err error
	if len(out.Violations) == 0 {
		_, err = fmt.Fprintln(w, "\nEvery promise was kept.")
	} else {
		_, err = fmt.Fprintf(w, "\n%d promises were broken, seed %d:\n%s", len(out.Violations), out.Seed, violations(out.Violations))
	}
	return err
}

// list is counts in one line.
func list(counts map[string]int) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, counts[name]))
	}
	return cmp.Or(strings.Join(parts, ", "), "none")
}
