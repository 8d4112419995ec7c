package bench

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// The measures of a picture, in pixels.
const (
	pictureWidth = 760
	pictureLabel = 250 // for the names on the left
	pictureText  = 130 // for the figures on the right
	pictureLine  = 22  // from one line to the next
	pictureBar   = 14
)

// Picture writes a report as an SVG picture: throughput, waits, and how each figure stands to its bar. It needs no
// other file and no script.
func (r *Report) Picture(w io.Writer) error {
	p := &picture{y: 8}
	p.text(0, "font-weight='bold'", "outboxd bench, %s", r.Began.Format("2006-01-02"))
	p.text(0, "fill='#666'", "%s, %d cores, load %.1f to %.1f; MongoDB %s, %d member(s); %d slots a process; %s",
		orUnknown(r.Machine.CPU), r.Machine.Cores, r.Machine.LoadThen, r.Machine.LoadLast, r.Server.Version, r.Server.Members, r.Parameters.Slots, r.Versions.Outboxd)
	if rows := r.rates(); len(rows) > 0 {
		p.chart("Intents a second; the thin line is from the least to the most of the rounds", rows, func(f float64) string { return count(int(f)) })
	}
	if l := r.Latency; l != nil {
		var rows []pictured
		for _, part := range []struct {
			name string
			Percentiles
		}{{"idle", l.Idle}, {fmt.Sprintf("at %s/s", count(int(l.HalfRate))), l.HalfLoad}} {
			rows = append(rows,
				pictured{name: part.name + ", p50", Spread: Spread{part.P50, part.P50, part.P50}},
				pictured{name: part.name + ", p95", Spread: Spread{part.P95, part.P95, part.P95}},
				pictured{name: part.name + ", p99", Spread: Spread{part.P99, part.P99, part.P99}})
		}
		p.chart("From an insert's acknowledgement to the call, in milliseconds", rows, short)
	}
	if c := r.Curve; c != nil {
		var rows []pictured
		for _, point := range c.Points {
			w := point.Waits
			rows = append(rows, pictured{name: point.load(), Spread: Spread{w.P50, w.P50, w.P99}, note: fmt.Sprintf("p99 %s", short(w.P99))})
		}
		p.chart("The same at rising loads: p50, and the thin line to p99", rows, short)
	}
	if len(r.Bars) > 0 {
		p.bars(r.Bars)
	}
	_, err := fmt.Fprintf(w, "<svg xmlns='http://www.w3.org/2000/svg' width='%d' height='%d' font-family='sans-serif' font-size='12'>\n<rect width='100%%' height='100%%' fill='#fff'/>\n%s</svg>\n",
		pictureWidth, p.y+12, p.body.String())
	return err
}

// pictured is one line of a chart.
type pictured struct {
	name string
	Spread
	note  string
	scale bool // what others are compared with
}

// rates returns the report's throughputs.
func (r *Report) rates() (rows []pictured) {
	share := func(s Spread, of string) string { return fmt.Sprintf("%.2f of %s", s.Median, of) }
	if c := r.Ceiling; c != nil {
		rows = append(rows, pictured{"ceiling", Spread{c.Rate, c.Rate, c.Rate}, "", true})
	}
	if w := r.Worker; w != nil {
		for _, c := range w.Crews {
			rows = append(rows, pictured{fmt.Sprintf("worker, %d process(es)", c.Processes), c.Rate, share(c.OfCeiling, "the ceiling"), false})
		}
	}
	if f := r.Flatness; f != nil {
		for _, s := range f.Steps {
			rows = append(rows, pictured{"beside 3 × " + count(s.Waiting), s.Rate, share(s.OfNone, "none"), false})
		}
	}
	if t := r.Retention; t != nil {
		rows = append(rows, pictured{fmt.Sprintf("while %s/s are deleted", count(int(t.Deleted.Median))), t.Rate, share(t.OfNone, "none"), false})
	}
	if e := r.Email; e != nil {
		rows = append(rows, pictured{"e-mail, SDK alone", e.Alone, "", true}, pictured{"e-mail, worker", e.Worker, share(e.OfAlone, "SDK"), false})
	}
	return rows
}

// picture is an SVG on its way.
type picture struct {
	body strings.Builder
	y    int
}

func (p *picture) text(x int, style, format string, args ...any) {
	p.y += pictureLine
	p.word(12+x, p.y, style, fmt.Sprintf(format, args...))
}

func (p *picture) word(x, y int, style, text string) {
	fmt.Fprintf(&p.body, "<text x='%d' y='%d' %s>", x, y, style)
	_ = xml.EscapeText(&p.body, []byte(text)) // a Builder takes everything
	p.body.WriteString("</text>\n")
}

func (p *picture) chart(heading string, rows []pictured, write func(float64) string) {
	p.y += pictureLine / 2
	p.text(0, "font-weight='bold'", "%s", heading)
	most := 0.0
	for _, row := range rows {
		most = max(most, row.Max)
	}
	width := func(f float64) int {
		return int(f / max(most, 1e-9) * (pictureWidth - pictureLabel - pictureText - 24))
	}
	for _, row := range rows {
		p.text(0, "", "%s", row.name)
		colour, top := "#4a7fb5", p.y-pictureBar+3
		if row.scale {
			colour = "#b8c4d0"
		}
		fmt.Fprintf(&p.body, "<rect x='%d' y='%d' width='%d' height='%d' fill='%s'/>\n", pictureLabel, top, max(1, width(row.Median)), pictureBar, colour)
		if row.Max > row.Min {
			fmt.Fprintf(&p.body, "<rect x='%d' y='%d' width='%d' height='2' fill='#333'/>\n", pictureLabel+width(row.Min), top+pictureBar/2-1, max(1, width(row.Max)-width(row.Min)))
		}
		figure := write(row.Median)
		if row.note != "" {
			figure += "  " + row.note
		}
		p.word(pictureLabel+width(max(row.Median, row.Max))+6, p.y, "fill='#333'", figure)
	}
}

func (p *picture) bars(bars []Bar) {
	p.y += pictureLine / 2
	p.text(0, "font-weight='bold'", "Bars")
	for _, b := range bars {
		colour, word := "#2e7d32", "met"
		if !b.Met {
			colour, word = "#c62828", "missed"
		}
		p.text(0, "", "%s", b.Figure)
		p.word(pictureLabel+150, p.y, "fill='#666'", strings.TrimSpace(b.Want+" "+b.Unit))
		p.word(pictureLabel+350, p.y, fmt.Sprintf("fill='%s'", colour), strings.TrimSpace(short(b.Got)+" "+b.Unit)+", "+word)
	}
}
