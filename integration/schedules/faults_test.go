package schedules

import (
	"strconv"
	"time"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers/simulator"
)

// network draws the providers' delays and faults. All in all an effect is to be seen at the provider sooner than
// absent_after: that is what reconcile relies on.
func (d *drawing) network() {
	left := d.absentAfter() - 100*time.Millisecond
	d.latency = d.upTo(200 * time.Millisecond)
	left -= d.latency
	if d.chance(20) {
		d.skew = d.upTo(time.Minute)
	}
	late := time.Duration(0)
	if d.chance(25) {
		late = d.upTo(min(left, 30*time.Second))
		left -= late
	}
	d.logsDelay = left // the worst that reconcile still copes with
	if d.chance(50) {
		d.logsDelay = d.upTo(left)
	}
	all := d.all()
	for range d.IntN(5) {
		w := all[d.IntN(len(all))]
		f := d.fault(w, late)
		f.Match.Times = []int{1, 1, 1, 2, 3}[d.IntN(5)]
		if d.chance(20) {
			f.Match.Nth = 2
		}
		d.faults = append(d.faults, f)
	}
}

// The routes that have or may have an effect, and those that ask.
var (
	effectRoutes   = map[string][]string{outbox.KindCharge: {"create", "confirm", "confirm"}, outbox.KindEmail: {"send"}, outbox.KindSMS: {"send"}}
	questionRoutes = map[string][]string{outbox.KindCharge: {"retrieve"}, outbox.KindEmail: {"logs", "log"}, outbox.KindSMS: {"list"}}
)

func (d *drawing) fault(w *wanted, late time.Duration) simulator.Fault {
	f := simulator.Fault{Provider: providerOf(w.kind)}
	asks := d.chance(25)
	routes := effectRoutes[w.kind]
	if asks {
		routes = questionRoutes[w.kind]
	}
	f.Route = routes[d.IntN(len(routes))]
	if !asks || w.kind == outbox.KindCharge {
		f.Match.OutboxID = w.id
	}
	f.When = simulator.Before
	if d.chance(60) {
		f.When = simulator.After
	}
	deeds := []string{
		simulator.DoStatus, simulator.DoStatus, simulator.DoStatus, simulator.DoReset, simulator.DoDrop, simulator.DoHang,
		simulator.DoTruncate, simulator.DoHTML, simulator.DoRedirect, simulator.DoGarbage, simulator.DoEmpty, simulator.DoDelay,
	}
	f.Do = deeds[d.IntN(len(deeds))]
	switch {
	case f.Do == simulator.DoDelay && asks: // what it shows may be old by the time it is read
		f.Delay = max(d.upTo(d.lanes[w.kind].Timeout), time.Millisecond)
	case f.Do == simulator.DoDelay:
		f.Delay = max(late, time.Millisecond)
	case f.Do != simulator.DoStatus:
	case w.kind == outbox.KindCharge && !asks && d.chance(25): // stored under the key, and replayed
		f.Status, f.Saved = 500, true
	case f.When == simulator.After:
		f.Status = []int{500, 502, 503, 504, 408}[d.IntN(5)]
	default:
		f.Status = d.refusal(w.kind, asks)
		if f.Status == 429 && d.chance(50) {
			f.Headers = map[string]string{"Retry-After": strconv.Itoa(1 + d.IntN(10))}
		} else if f.Status == 429 && w.kind == outbox.KindEmail {
			f.Headers = map[string]string{"X-RateLimit-Reset": "+" + strconv.Itoa(d.IntN(10))}
		}
	}
	return f
}

// refusal is the status of an answer by a provider that did not act.
func (d *drawing) refusal(kind string, asks bool) int {
	statuses := []int{429, 429, 429, 500, 502, 503, 504, 408, 401, 403}
	if kind == outbox.KindCharge {
		statuses = append(statuses, 409, 409, 424)
	}
	if !asks || kind != outbox.KindCharge { // Stripe does not refuse to show what it has
		statuses = append(statuses, 400, 404)
	}
	return statuses[d.IntN(len(statuses))]
}

// refuses reports whether the fault is a final no to the effect.
func refuses(f simulator.Fault) bool {
	return f.Do == simulator.DoStatus && (f.Status == 400 || f.Status == 404)
}

// isQuestion reports whether the fault is one of asking.
func isQuestion(f simulator.Fault) bool {
	return f.Route != "create" && f.Route != "confirm" && f.Route != "send"
}
