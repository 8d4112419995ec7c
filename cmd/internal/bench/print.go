package bench

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/outboxd/outboxd/cmd/internal/term"
)

// barWidth is the length of the longest bar in a picture.
const barWidth = 40

// Write writes a report for people.
func (r *Report) Write(w io.Writer, style term.Style) error {
	p := &page{w: w, style: style}
	p.line("%s, %d cores, %s/%s, load %.1f to %.1f, %.1f %% of the processors' time had by other machines; MongoDB %s, %d member(s), cache %d MB",
		orUnknown(r.Machine.CPU), r.Machine.Cores, r.Machine.OS, r.Machine.Arch, r.Machine.LoadThen, r.Machine.LoadLast, 100*r.Machine.Stolen,
		r.Server.Version, r.Server.Members, r.Server.Cache/megabyte)
	p.line("outboxd %s, %s, driver %s; write concern %s; intents of %d bytes, %s a round, %d round(s), %d slots a process",
		r.Versions.Outboxd, r.Versions.Go, r.Versions.Driver, r.Server.WriteConcern, r.Parameters.Document,
		count(r.Parameters.Intents), r.Parameters.Rounds, r.Parameters.Slots)
	r.throughput(p)
	r.waits(p)
	r.costs(p)
	p.heading("Bars")
	t := term.NewTable(term.Column{Name: "FIGURE", Flex: true}, term.Column{Name: "BAR"}, term.Column{Name: "MEASURED", Right: true}, term.Column{Name: ""})
	for _, b := range r.Bars {
		mark, word := style.Green, "met"
		if !b.Met {
			mark, word = style.Red, "missed"
		}
		t.Mark(mark, b.Figure, strings.TrimSpace(b.Want+" "+b.Unit), strings.TrimSpace(short(b.Got)+" "+b.Unit), word)
	}
	p.table(t)
	return p.err
}

func (r *Report) throughput(p *page) {
	if r.Ceiling == nil && r.Worker == nil && r.Flatness == nil && r.Retention == nil && r.Email == nil {
		return
	}
	p.heading("Throughput, intents a second (median, least–most)")
	t := term.NewTable(term.Column{Name: "WHAT", Flex: true}, term.Column{Name: "RATE", Right: true}, term.Column{Name: ""}, term.Column{Name: "SHARE", Right: true}, term.Column{Name: "CLAIM", Right: true})
	most := 0.0
	rows := []func(){}
	add := func(what string, s Spread, share *Spread, claim float64) {
		most = max(most, s.Median)
		rows = append(rows, func() {
			cells := []string{what, spreadText(s), strings.Repeat("█", int(s.Median/most*barWidth+.5)), "", ""}
			if share != nil {
				cells[3] = fmt.Sprintf("%.2f", share.Median)
			}
			if claim > 0 {
				cells[4] = fmt.Sprintf("%.1f ms", claim)
			}
			t.Row(cells...)
		})
	}
	if c := r.Ceiling; c != nil {
		add(fmt.Sprintf("ceiling (%d a batch, %d in parallel)", c.Batch, c.Parallel), Spread{c.Rate, c.Rate, c.Rate}, nil, 0)
	}
	if w := r.Worker; w != nil {
		for _, c := range w.Crews {
			add(fmt.Sprintf("worker, %d process(es)", c.Processes), c.Rate, &c.OfCeiling, c.ClaimP50)
		}
	}
	if f := r.Flatness; f != nil {
		for _, s := range f.Steps {
			add("beside 3 × "+count(s.Waiting), s.Rate, &s.OfNone, s.ClaimP50)
		}
	}
	if t := r.Retention; t != nil {
		add(fmt.Sprintf("while %s/s are deleted", count(int(t.Deleted.Median))), t.Rate, &t.OfNone, 0)
	}
	if e := r.Email; e != nil {
		add("e-mail, SDK alone", e.Alone, nil, 0)
		add("e-mail, worker", e.Worker, &e.OfAlone, 0)
	}
	for _, row := range rows {
		row()
	}
	p.table(t)
}

// load is how a load of the curve is named.
func (c CurvePoint) load() string {
	return fmt.Sprintf("%s/s, %.0f %% of full load", count(int(c.Rate)), 100*c.Share)
}

func (r *Report) waits(p *page) {
	r.fewWaits(p)
	c := r.Curve
	if c == nil {
		return
	}
	p.heading("The same at rising loads, ms")
	t := waitsTable()
	for _, point := range c.Points {
		waitsRow(t, point.load(), point.Waits)
	}
	p.table(t)
}

func waitsTable() *term.Table {
	return term.NewTable(term.Column{Name: "WHEN", Flex: true}, term.Column{Name: "N", Right: true},
		term.Column{Name: "P50", Right: true}, term.Column{Name: "P95", Right: true},
		term.Column{Name: "P99", Right: true}, term.Column{Name: "MAX", Right: true})
}

func waitsRow(t *term.Table, when string, w Percentiles) {
	t.Row(when, count(w.N), short(w.P50), short(w.P95), short(w.P99), short(w.Max))
}

func (r *Report) fewWaits(p *page) {
	l := r.Latency
	if l == nil {
		return
	}
	p.heading("From an insert's acknowledgement to the call of the provider, ms")
	t := waitsTable()
	for _, row := range []struct {
		when string
		Percentiles
	}{{"(an insert itself)", l.Insert}, {"idle worker", l.Idle}, {fmt.Sprintf("half load (%.0f/s)", l.HalfRate), l.HalfLoad}} {
		waitsRow(t, row.when, row.Percentiles)
	}
	p.table(t)
	p.line("Half load, round by round: p99 %s ms.", spreadText(l.HalfP99))
}

func (r *Report) costs(p *page) {
	c := r.Cost
	if c == nil {
		return
	}
	p.heading("Cost")
	t := term.NewTable(term.Column{Name: "WHAT", Flex: true}, term.Column{Name: "AT FULL LOAD", Right: true}, term.Column{Name: "IDLE", Right: true})
	t.Row("round trips", fmt.Sprintf("%.4f an intent", c.Load.RoundTrips), fmt.Sprintf("%.2f a second", c.Idle.Queries))
	t.Row("document writes", fmt.Sprintf("%.2f an intent", c.Load.Writes), "")
	t.Row("bytes to and from the server", fmt.Sprintf("%.0f and %.0f an intent", c.Load.BytesIn, c.Load.BytesOut), "")
	t.Row("processor, worker", fmt.Sprintf("%.3f s / 1,000", c.Load.WorkerCPU), fmt.Sprintf("%.3f s a minute", c.Idle.WorkerCPU))
	t.Row("processor, server", fmt.Sprintf("%.3f s / 1,000", c.Load.ServerCPU), fmt.Sprintf("%.3f s a minute", c.Idle.ServerCPU))
	t.Row("worker's memory, resident", fmt.Sprintf("%d MB at most", c.Load.Resident/megabyte), fmt.Sprintf("%d MB", c.Idle.Resident/megabyte))
	p.table(t)
}

// page writes until something fails.
type page struct {
	w     io.Writer
	style term.Style
	err   error
}

func (p *page) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintln(p.w, term.Wrap(fmt.Sprintf(format, args...), ""))
	}
}

func (p *page) heading(text string) {
	if p.err == nil {
		_, p.err = fmt.Fprintln(p.w, "\n"+p.style.Bold(text))
	}
}

func (p *page) table(t *term.Table) {
	if p.err == nil {
		p.err = t.Write(p.w, p.style)
	}
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown processor"
	}
	return s
}

func spreadText(s Spread) string {
	if s.Min == s.Max {
		return count(int(s.Median))
	}
	return fmt.Sprintf("%s (%s–%s)", count(int(s.Median)), count(int(s.Min)), count(int(s.Max)))
}

// short writes a number with as many digits as mean something.
func short(f float64) string {
	switch {
	case f >= 100:
		return count(int(f + .5))
	case f >= 10:
		return fmt.Sprintf("%.1f", f)
	case f >= 1:
		return fmt.Sprintf("%.2f", f)
	default:
		return fmt.Sprintf("%.3f", f)
	}
}

// count writes a number with commas between thousands.
func count(n int) string {
	digits := strconv.Itoa(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
