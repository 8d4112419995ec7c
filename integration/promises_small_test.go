package integration

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/providers/simulator"
)

// An expires_at that is there counts, whatever its value: C#'s default is the year one.
func TestAnExpiryInTheYearOneIsAnExpiry(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brief)
	one := time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	past := map[string]time.Time{
		"year-one": one, "a-millisecond-later": one.Add(time.Millisecond), "1970": time.Unix(0, 0), "1900": time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC), "yesterday": time.Now().Add(-24 * time.Hour),
	}
	for name, at := range past {
		for kind, of := range makers {
			w.insert(with(of(kind+"-"+name), bson.M{"expires_at": at}))
		}
	}
	w.insert(with(sms("tomorrow"), bson.M{"expires_at": time.Now().Add(24 * time.Hour)}))
	w.drain()
	for name := range past {
		for kind := range makers {
			if in := w.get(kind + "-" + name); in.outcome() != "dead/expired" {
				t.Errorf("%s that expired in %s is %s, want dead/expired", kind, name, in.outcome())
			}
		}
	}
	w.once(1, true)
}

// A due_at of the year one is due at once, and one that is missing or no date is none.
func TestADueDateInTheYearOneIsDueAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brief)
	for kind, of := range makers {
		w.insert(with(of(kind), bson.M{"due_at": time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)}))
	}
	w.drain()
	w.waitFor("all are done", len(makers), bson.D{{Key: "status", Value: "done"}})
	w.once(len(makers), true)
}

// Amounts are as large as Stripe takes them in each currency, and no larger.
func TestAmountsAreBoundedByTheirCurrency(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brief)
	for _, c := range []struct {
		currency string
		amount   int64
		fits     bool
	}{
		{"idr", 99_999_999, true}, {"idr", 100_000_000, true}, {"idr", 150_000_000, true}, {"idr", 999_999_999_999, true}, {"idr", 1_000_000_000_000, false},
		{"eur", 99_999_999, true}, {"eur", 100_000_000, false}, {"usd", 100_000_000, false}, {"jpy", 99_999_999, true}, {"eur", 0, false}, {"jpy", -1, false},
	} {
		id := fmt.Sprint(c.currency, "-", c.amount)
		_, err := w.outbox.InsertOne(t.Context(), paying(charge(id), bson.M{"currency": c.currency, "amount": c.amount}))
		if fits := err == nil; fits != c.fits || err != nil && !refused(err) {
			t.Errorf("%d of %s: error %v, want it taken: %v", c.amount, c.currency, err, c.fits)
		}
	}
	w.drain()
	if n := w.count(bson.D{{Key: "status", Value: bson.D{{Key: "$ne", Value: "done"}}}}); n > 0 {
		t.Errorf("%d charges that were taken are not done", n)
	}
}

// The data of a template goes to SendGrid with its keys in the order in which the producer wrote them.
func TestTemplateDataKeepsTheOrderOfItsKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brief)
	var mu sync.Mutex
	var bodies []string
	w.secrets = []string{"SENDGRID_API_URL=" + serve(t, func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if strings.HasSuffix(r.URL.Path, "/mail/send") {
			mu.Lock()
			bodies = append(bodies, string(body))
			mu.Unlock()
		}
		forward(w.sim.SendGrid, rw, r, body)
	})}
	template := func(id string, data bson.D) bson.M {
		return bson.M{"_id": id, "kind": "email", "status": "pending", "due_at": time.Now(),
			"payload": bson.M{"from": "shop@example.com", "to": id + "@example.org", "template_id": "d-0123456789abcdef0123456789abcdef", "template_data": data}}
	}
	w.insert(
		template("flat", bson.D{{Key: "zebra", Value: "1"}, {Key: "apple", Value: "2"}, {Key: "mango", Value: "3"}, {Key: "10", Value: "4"}, {Key: "2", Value: "5"}}),
		template("deep", bson.D{{Key: "order", Value: bson.D{{Key: "total", Value: "9"}, {Key: "items", Value: bson.A{bson.D{{Key: "sku", Value: "s"}, {Key: "amount", Value: 1}}}}, {Key: "at", Value: "now"}}}}),
	)
	follow := bson.D{{Key: "kind", Value: "email"}, {Key: "payload", Value: template("follow", bson.D{{Key: "y", Value: "${result.id}"}, {Key: "x", Value: "${_id}"}, {Key: "b", Value: "1"}})["payload"]}}
	w.insert(with(sms("parent"), bson.M{"on_done": bson.A{follow}}))
	w.drain()
	mu.Lock()
	defer mu.Unlock()
	all := strings.Join(bodies, "\n")
	for _, keys := range [][]string{{`"zebra"`, `"apple"`, `"mango"`, `"10"`, `"2"`}, {`"total"`, `"items"`, `"sku"`, `"amount"`, `"at"`}, {`"y"`, `"x"`, `"b"`}} {
		at := -1
		for _, key := range keys {
			next := strings.Index(all[max(0, at):], key)
			if next < 0 {
				t.Errorf("SendGrid was not told %v in this order:\n%s", keys, all)
				break
			}
			at = max(0, at) + next
		}
	}
	// What SendGrid cannot be told is refused when it is written, or before it is sent.
	number, err := bson.ParseDecimal128("9.99")
	if err != nil {
		t.Fatal(err)
	}
	for id, value := range map[string]any{"decimal": number, "deep-decimal": bson.D{{Key: "a", Value: bson.A{number}}}} {
		if _, err := w.outbox.InsertOne(t.Context(), template(id, bson.D{{Key: "price", Value: value}})); err != nil {
			if !refused(err) {
				t.Error(err)
			}
			continue
		}
		w.drain()
		if in := w.get(id); in.outcome() != "dead/invalid" || in.Attempts != 0 {
			t.Errorf("%s is %s after %d attempts, want dead/invalid after none", id, in.outcome(), in.Attempts)
		}
	}
}

// A server that ends a kept connection without a word, just when the next text is on its way: none is parked for that.
func TestAKeptConnectionThatIsGoneParksNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brief)
	url := forgetful(t, w.sim.Twilio)
	w.secrets = []string{"TWILIO_API_URL=" + url}
	w.worker()
	const waves, each = 3, 30
	for wave := range waves {
		var docs []bson.M
		for n := range each {
			docs = append(docs, sms(fmt.Sprint("text-", wave, "-", n)))
		}
		w.insert(docs...)
		eventually(t, "the wave is over", func() bool {
			return w.count(bson.D{{Key: "status", Value: bson.D{{Key: "$in", Value: bson.A{"done", "dead"}}}}}) == (wave+1)*each
		})
		lasts(t, 2*idleAtMost) // the server forgets its connections
	}
	if n := w.count(bson.D{{Key: "status", Value: "dead"}}); n > 0 {
		t.Errorf("%d of %d texts are parked, and Twilio never saw them", n, waves*each)
	}
	w.once(waves*each, true)
}

// idleAtMost is how long the server below keeps a connection that nobody uses.
const idleAtMost = time.Second

// forgetful runs a server before another that keeps connections open, and has forgotten those that were idle for
// longer than idleAtMost: it reads what comes on them and ends them without an answer. So does one whose end of a
// connection crosses the next request.
func forgetful(tb testing.TB, to string) (url string) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	conns := make(map[net.Conn]bool)
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns[conn] = true
			mu.Unlock()
			all.Go(func() {
				defer conn.Close()
				in := bufio.NewReader(conn)
				for last := (time.Time{}); ; last = time.Now() {
					r, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					body, err := io.ReadAll(r.Body)
					if err != nil || !last.IsZero() && time.Since(last) > idleAtMost {
						return
					}
					req, err := http.NewRequest(r.Method, to+r.URL.RequestURI(), strings.NewReader(string(body)))
					if err != nil {
						return
					}
					req.Header = r.Header
					client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
					resp, err := client.Do(req)
					if err != nil {
						return
					}
					resp.Close = false
					resp.Header.Del("Connection")
					err = resp.Write(conn)
					resp.Body.Close()
					if err != nil {
						return
					}
				}
			})
		}
	})
	tb.Cleanup(func() {
		l.Close()
		mu.Lock()
		for conn := range conns {
			conn.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return "http://" + l.Addr().String()
}

// An intent that dies a second time has the follow-ups of its second death as well.
func TestASecondDeathHasItsOwnFollowUps(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brief)
	follow := bson.A{bson.M{"kind": "email", "payload": email("follow")["payload"]}}
	ids := []string{"declined", "no-number"}
	w.insert(
		with(paying(charge(ids[0]), bson.M{"payment_method": "pm_card_chargeDeclined"}), bson.M{"on_dead": follow}),
		with(paying(sms(ids[1]), bson.M{"to": "+15005550001"}), bson.M{"on_dead": follow}),
	)
	w.drain()
	for death, suffix := range []string{":dead:0", ":dead:0:2", ":dead:0:3"} {
		for _, id := range ids {
			if death > 0 {
				if code, text := w.try(nil, "dead", "retry", "--even-final", id); code != 0 {
					t.Fatalf("dead retry --even-final %s: exit code %d: %s", id, code, text)
				}
			}
		}
		w.drain()
		for _, id := range ids {
			if in := w.settled(id + suffix); in.Status != "done" {
				t.Errorf("%s%s is %s, want done", id, suffix, in.outcome())
			}
		}
	}
}

// A document of somebody else has the id of a follow-up: the follow-up gets the next number, and both are carried out.
func TestAStrangerUnderAFollowUpsIdSwallowsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brief)
	follow := bson.A{bson.M{"kind": "email", "payload": email("follow")["payload"]}}
	for kind, of := range makers {
		w.insert(with(sms(kind+":done:0"), bson.M{"due_at": time.Now().Add(time.Hour)}), with(of(kind), bson.M{"on_done": follow}))
	}
	w.worker()
	for kind := range makers {
		if in := w.settled(kind + ":done:0:2"); in.Status != "done" || in.Kind != "email" {
			t.Errorf("the follow-up of %s is %s, a %v", kind, in.outcome(), in.Kind)
		}
		if in := w.get(kind + ":done:0"); in.Status != "pending" || in.Kind != "sms" {
			t.Errorf("the stranger beside %s is %s, a %v", kind, in.outcome(), in.Kind)
		}
	}
}

// What its worker left behind expires although its lane is paused: by its lease's end nobody has to ask for it.
func TestAnExpiredLeaseEndsInAPausedLane(t *testing.T) {
	t.Parallel()
	w := newWorld(t, patientLane)
	expiring := bson.M{"expires_at": time.Now().Add(3 * time.Second)}
	w.sim.fail(
		simulator.Fault{Provider: "twilio", Route: "send", When: simulator.After, Do: simulator.DoHang},
		simulator.Fault{Provider: "stripe", Route: "create", Do: simulator.DoHang},
		simulator.Fault{Provider: "sendgrid", Route: "send", When: simulator.Before, Do: simulator.DoHang},
	)
	for kind, of := range makers {
		w.insert(with(of(kind), expiring))
	}
	first := w.worker()
	w.sim.faultsMet()
	first.kill()
	for kind := range makers {
		w.lane(kind, bson.M{"paused": true, "why": "a test"})
	}
	w.worker()
	if in := w.settled("sms"); in.outcome() != "dead/ambiguous" {
		t.Errorf("the text is %s, want dead/ambiguous: it may have been sent", in.outcome())
	}
	if effects := w.sim.tally(); effects.of("sms") != 1 || effects.of("charge") != 0 || effects.of("email") != 0 {
		t.Errorf("effects %v, want the text's alone", effects)
	}
}

// --until-empty sees what comes into a lane at which it looked already.
func TestUntilEmptySeesFollowUpsIntoEveryLane(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brief)
	then := func(kind string, more ...any) bson.M {
		doc := bson.M{"kind": kind, "payload": makers[kind]("chain")["payload"]}
		if len(more) > 0 {
			doc["on_done"] = bson.A(more)
		}
		return doc
	}
	chains := map[string]bson.M{
		"a": then("sms", then("email", then("charge", then("sms")))), "b": then("charge", then("sms", then("email", then("charge")))),
		"c": then("email", then("charge", then("email", then("sms")))), "d": then("sms", then("charge", then("sms", then("charge")))),
	}
	for id, d := range chains {
		w.insert(with(d, bson.M{"_id": id, "status": "pending", "due_at": time.Now()}))
	}
	w.worker("--until-empty").succeed()
	if n := w.count(bson.D{{Key: "status", Value: "done"}}); n != 4*len(chains) {
		t.Errorf("%d of %d intents are done when nothing is said to remain", n, 4*len(chains))
	}
}

// The simulators refuse a fault of a route that does not exist: it would never fire.
func TestTheSimulatorsRefuseFaultsOfNoRoute(t *testing.T) {
	t.Parallel()
	s := startSim(t)
	for _, fault := range []string{
		`{"provider":"stripe","route":"charge","do":"reset"}`, `{"provider":"twilio","route":"create","do":"reset"}`, `{"provider":"sendgrid","route":"mail","do":"hang"}`, `{"route":"confrim","do":"drop"}`,
	} {
		resp := s.post(fault)
		if resp != http.StatusBadRequest {
			t.Errorf("the fault %s is answered with %d, want 400", fault, resp)
		}
	}
	if resp := s.post(`{"provider":"stripe","route":"unknown","do":"reset"}`); resp != http.StatusOK {
		t.Errorf("a fault of every other path is answered with %d", resp)
	}
}

// post adds a fault as a person does, and returns the answer's status.
func (s *sim) post(fault string) int {
	s.tb.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Post(s.Stripe+"/_sim/faults", "application/json", strings.NewReader(fault))
	if err != nil {
		s.tb.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// Follow-ups and write_backs by reason: an ambiguous end is none of the others.
func TestConsequencesFollowTheReason(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brief)
	mail := func(when ...any) bson.M {
		doc := bson.M{"kind": "email", "payload": email("follow")["payload"]}
		if len(when) > 0 {
			doc["when"] = bson.A(when)
		}
		return doc
	}
	for _, id := range []string{"ambiguous", "permanent", "expired", "plain"} {
		w.business(bson.M{"_id": id})
	}
	back := func(doc bson.M, more bson.M) bson.M {
		return with(doc, bson.M{"on_dead": bson.A{mail("permanent"), mail("ambiguous"), mail("expired", "exhausted"), mail()},
			"write_back": with(bson.M{"collection": "orders", "id": doc["_id"], "done": bson.M{"state": "sent"}, "dead": bson.M{"state": "failed"}}, more)})
	}
	checking := bson.M{"ambiguous": bson.M{"state": "checking"}}
	for _, id := range []string{"ambiguous", "plain"} {
		w.sim.fail(simulator.Fault{Provider: "twilio", Route: "send", When: simulator.After, Do: simulator.DoDrop, Match: simulator.Match{To: phone(id)}})
	}
	w.insert(back(sms("ambiguous"), checking), back(paying(sms("permanent"), bson.M{"to": "+15005550001"}), checking),
		with(back(sms("expired"), checking), bson.M{"expires_at": time.Now().Add(-time.Hour)}), back(sms("plain"), nil))
	w.drain()
	for id, want := range map[string]struct {
		outcome, state string
		followed       string
	}{
		"ambiguous": {"dead/ambiguous", "checking", "13"}, "permanent": {"dead/permanent", "failed", "03"}, "expired": {"dead/expired", "failed", "23"}, "plain": {"dead/ambiguous", "failed", "13"},
	} {
		if in := w.get(id); in.outcome() != want.outcome {
			t.Errorf("%s is %s, want %s", id, in.outcome(), want.outcome)
		}
		if state := w.order(id)["state"]; state != want.state {
			t.Errorf("the business document of %s says %v, want %s", id, state, want.state)
		}
		var followed strings.Builder
		for n := range 4 {
			if w.count(bson.D{{Key: "_id", Value: fmt.Sprint(id, ":dead:", n)}}) == 1 {
				followed.WriteString(fmt.Sprint(n))
			}
		}
		if followed.String() != want.followed {
			t.Errorf("%s has the follow-ups %s, want %s", id, followed.String(), want.followed)
		}
	}
}
