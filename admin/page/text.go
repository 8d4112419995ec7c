package page

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/a-h/templ"

	"github.com/outboxd/outboxd/outbox"
)

const (
	maxText  = 2000 // characters of one text
	maxDepth = 8    // of a payload
	maxLines = 500  // of a payload
)

func trim(text string) string { return strings.TrimSpace(text) }

// clean returns a text that shows what is in it: signs that cannot be seen, or that turn the direction of what follows,
// become ␦. What is too long is cut.
func clean(text string) string {
	n := 0
	return strings.Map(func(r rune) rune {
		n++
		switch {
		case n == maxText+1:
			return '…'
		case n > maxText:
			return -1
		case r == utf8.RuneError, unicode.IsControl(r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Zl, r), unicode.Is(unicode.Zp, r),
			unicode.Is(unicode.Co, r), unicode.Is(unicode.Variation_Selector, r):
			return '␦'
		default:
			return r
		}
	}, text)
}

// coded is a text for people in which commands stand between backquotes.
func coded(text string) templ.Component {
	return templ.ComponentFunc(func(_ context.Context, w io.Writer) error {
		var b strings.Builder
		parts := strings.Split(clean(text), "`")
		for i, part := range parts {
			if i%2 == 1 && i < len(parts)-1 {
				b.WriteString("<code>" + templ.EscapeString(part) + "</code>")
				continue
			}
			if i%2 == 1 { // nobody closed it
				b.WriteByte('`')
			}
			b.WriteString(templ.EscapeString(part))
		}
		_, err := io.WriteString(w, b.String())
		return err
	})
}

// took writes a duration in the two units that matter.
func took(d time.Duration) string {
	switch {
	case d < 0:
		return "–"
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
	case d < time.Minute:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
	case d < time.Hour:
		return fmt.Sprintf("%d m %d s", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d m", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%d d %d h", int(d.Hours())/24, int(d.Hours())%24)
	}
}

// age writes how long ago an instant was.
func age(now, at time.Time) string {
	if at.IsZero() {
		return "–"
	}
	return took(max(0, now.Sub(at)))
}

// number writes a figure with commas.
func number(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// Currencies whose minor unit is not a hundredth, as Stripe counts them.
var (
	noMinor   = []string{"bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "ugx", "vnd", "vuv", "xaf", "xof", "xpf"}
	thousands = []string{"bhd", "jod", "kwd", "omr", "tnd"}
)

// money writes a sum of minor units.
func money(currency string, minor int64) string {
	digits := 2
	switch {
	case slices.Contains(noMinor, currency):
		digits = 0
	case slices.Contains(thousands, currency):
		digits = 3
	}
	code := strings.ToUpper(clean(currency))
	if digits == 0 {
		return number(minor) + " " + code
	}
	text := fmt.Sprintf("%0*d", digits+1, minor)
	whole, _ := strconv.ParseInt(text[:len(text)-digits], 10, 64) // digits alone
	return number(whole) + "." + text[len(text)-digits:] + " " + code
}

// sums writes what the charges of a plan come to.
func sums(plan map[string]int64) string {
	var list []string
	for _, currency := range slices.Sorted(maps.Keys(plan)) {
		list = append(list, money(currency, plan[currency]))
	}
	return strings.Join(list, ", ")
}

// payloadText writes a payload for people, a field a line.
func payloadText(v any) string {
	var b lines
	b.write("", "", v, 0)
	return strings.Join(b.list, "\n")
}

type lines struct{ list []string }

func (b *lines) add(line string) {
	switch {
	case len(b.list) < maxLines:
		b.list = append(b.list, line)
	case len(b.list) == maxLines:
		b.list = append(b.list, "…")
	}
}

func (b *lines) write(indent, label string, v any, depth int) {
	if label != "" {
		label += ": "
	}
	if depth > maxDepth {
		b.add(indent + label + "…")
		return
	}
	inner := indent
	if label != "" {
		inner += "  "
	}
	switch v := v.(type) {
	case map[string]any:
		b.head(indent, label)
		for _, key := range slices.Sorted(maps.Keys(v)) {
			b.write(inner, clean(key), v[key], depth+1)
		}
	case outbox.Fields:
		b.head(indent, label)
		for _, f := range v {
			b.write(inner, clean(f.Name), f.Value, depth+1)
		}
	case []any:
		b.head(indent, label)
		for i, item := range v {
			b.write(inner, strconv.Itoa(i+1), item, depth+1)
		}
	case string:
		b.add(indent + label + clean(v))
	default:
		text, err := json.Marshal(v)
		if err != nil {
			text = fmt.Append(nil, v)
		}
		b.add(indent + label + clean(string(text)))
	}
}

func (b *lines) head(indent, label string) {
	if label != "" {
		b.add(indent + strings.TrimSuffix(label, " "))
	}
}
