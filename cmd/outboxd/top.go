package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/outboxd/outboxd/admin"
	"github.com/outboxd/outboxd/cmd/internal/term"
	"github.com/outboxd/outboxd/outbox"
)

// topEvery is how often top looks. It reads a few small documents, whatever lies in the outbox.
const topEvery = 2 * time.Second

type topCmd struct{ mongoFlags }

func (topCmd) Help() string {
	return `Fills the terminal with what the operators' page shows first: what needs a person, and each lane with its state, what waits, the oldest
that is due, what was done a minute, and how long attempts took. It looks every two seconds, and costs the database nearly nothing.
q leaves, r looks at once. In a pipe use ` + "`outboxd stats`" + `.

  outboxd top`
}

func (topCmd) Run(p *program) error {
	if why := p.noScreen(); why != "" {
		return wrongUse("top needs a terminal that it can fill, and %s; `outboxd stats --watch` writes lines", why)
	}
	return p.withDesk(func(ctx context.Context, d *desk) error {
		screen := top{ctx: ctx, desk: d, style: term.NewStyle(p.out, p.env)}
		_, err := tea.NewProgram(screen, tea.WithContext(ctx), tea.WithInput(p.in), tea.WithOutput(p.out), tea.WithEnvironment(p.environ), tea.WithoutSignalHandler()).Run()
		if ctx.Err() != nil && errors.Is(err, tea.ErrProgramKilled) { // a signal is a way to leave
			return nil
		}
		if err != nil {
			return fmt.Errorf("fill the terminal: %w", err)
		}
		return nil
	})
}

// noScreen says why the terminal cannot be filled; empty: it can.
func (p *program) noScreen() string {
	switch name := p.env("TERM"); {
	case !term.IsTerminal(p.out):
		return "its output is none"
	case !term.IsInput(p.in):
		return "its input is none"
	case name == "" || name == "dumb":
		return fmt.Sprintf("TERM is %q, which cannot move the cursor", name)
	default:
		return ""
	}
}

// top is the screen. It is a [tea.Model].
type top struct {
	ctx   context.Context
	desk  *desk
	style term.Style

	view   admin.Overview
	seen   bool // there is a view
	err    error
	height int
}

// looked is an overview that was read, or why there is none.
type looked struct {
	view admin.Overview
	err  error
}

// dueLook says that it is time to look again.
type dueLook struct{}

func (t top) look() tea.Msg {
	view, err := t.desk.Overview(t.ctx, t.desk.actor)
	return looked{view, err}
}

// Init looks at once.
func (t top) Init() tea.Cmd { return t.look }

// Update takes keys, the terminal's size, and what was looked at.
func (t top) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.KeyPressMsg:
		switch msg.String() {
		case "q", "esc", "ctrl+c":
			return t, tea.Quit
		case "r":
			return t, t.look
		}
	case tea.WindowSizeMsg:
		t.height = msg.Height
	case looked:
		t.err = msg.err
		if msg.err == nil {
			t.view, t.seen = msg.view, true
		}
		return t, tea.Tick(topEvery, func(time.Time) tea.Msg { return dueLook{} })
	case dueLook:
		return t, t.look
	}
	return t, nil
}

// View is the whole screen.
func (t top) View() tea.View {
	lines := strings.Split(strings.TrimRight(t.text(), "\n"), "\n")
	if t.height > 0 {
		lines = lines[:min(len(lines), t.height)]
	}
	view := tea.NewView(strings.Join(lines, "\n"))
	view.AltScreen, view.WindowTitle = true, "outboxd top"
	return view
}

func (t top) text() string {
	var b strings.Builder
	age := "no worker counts yet"
	if t.seen && t.view.Age >= 0 {
		age = "counted " + ago(t.view.Age) + " ago"
	}
	head := "outboxd"
	if t.seen {
		head += "  " + instant(t.view.At) + "  " + age
	}
	b.WriteString(t.style.Bold(head) + "  " + t.style.Dim("q leaves, r looks again") + "\n\n")
	if t.err != nil {
		b.WriteString(t.style.Red(term.Wrap("The database does not answer; it is asked again. "+t.err.Error(), "")) + "\n\n")
	}
	if !t.seen {
		return b.String()
	}
	for _, n := range t.view.Needs {
		mark := t.style.Yellow
		if n.Urgent {
			mark = t.style.Red
		}
		b.WriteString(mark(term.Wrap("! "+n.Text+". "+n.Remedy, "")) + "\n")
	}
	if len(t.view.Needs) == 0 {
		b.WriteString(t.style.Green("Nothing needs a person.") + "\n")
	}
	b.WriteString("\n")
	if err := topTable(t.view, t.style).Write(&b, t.style); err != nil {
		return err.Error()
	}
	return b.String()
}

// topTable is the lanes, a row each.
func topTable(view admin.Overview, style term.Style) *term.Table {
	columns := []term.Column{{Name: "LANE", Flex: true}, {Name: "STATE"}}
	for _, name := range []string{"WAITING", "DUE", "OLDEST", "DONE/MIN", "DEAD/MIN"} {
		columns = append(columns, term.Column{Name: name, Right: true})
	}
	columns = append(columns, term.Column{Name: "LAST HALF HOUR"}, term.Column{Name: "P50/P95", Right: true}, term.Column{Name: "FLIGHT", Right: true})
	table := term.NewTable(columns...)
	for _, c := range view.Cards {
		mark := style.Yellow
		if c.State == admin.LaneOpen {
			mark = nil
		}
		done, dead := perMinute(view.At, c.Hour)
		table.Mark(mark, c.Kind, c.State, admin.Figure(c.Census.Waiting), admin.Figure(c.Census.Due), sinceThen(view.At, c.Census.OldestDue), done, dead,
			spark(view.At, c.Hour), brief(c.P50)+"/"+brief(c.P95), fmt.Sprintf("%d/%dw", c.InFlight, c.Workers))
	}
	return table
}

// brief writes how long attempts take.
func brief(d time.Duration) string {
	switch {
	case d == 0:
		return "-"
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
	default:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + "s"
	}
}

// spark draws how many were done in each two minutes of the last half hour.
func spark(now time.Time, hour []outbox.RateMinute) string {
	const width, step = 15, 2 * time.Minute
	var done [width]int64
	begin := now.Truncate(time.Minute).Add(-width * step)
	most := int64(1)
	for _, m := range hour {
		if i := int(m.Minute.Sub(begin) / step); !m.Minute.Before(begin) && i < width {
			done[i] += m.Done
			most = max(most, done[i])
		}
	}
	bars := []rune("▁▂▃▄▅▆▇█")
	line := make([]rune, width)
	for i, n := range done {
		line[i] = bars[n*int64(len(bars)-1)/most]
	}
	return string(line)
}
