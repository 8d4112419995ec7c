package integration

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// MiB is the unit of what follow-ups resolve to.
const MiB = 1 << 20

// hostile returns an intent whose follow-ups or write_back resolve to far more than it holds itself.
func hostile(doc bson.M, size, followUps, references int, field string) bson.M {
	text := strings.Repeat("${metadata.a}", references) + "."
	doc["metadata"] = bson.M{"a": strings.Repeat("x", size)}
	if field == "write_back" {
		doc["write_back"] = bson.M{"collection": "orders", "id": "target", "done": bson.M{"text": text}}
		return doc
	}
	var list bson.A
	for range followUps {
		list = append(list, bson.M{"kind": "email", "payload": bson.M{"from": "a@example.com", "to": "b@example.com", "subject": "s", "text": text}})
	}
	doc[field] = list
	return doc
}

// What the consequences of an intent come to is known before it is sent. What is too large is refused then, with the
// reason; what is within the bounds is written.
func TestConsequencesThatAreTooLargeAreRefusedBeforeSending(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brief)
	w.business(bson.M{"_id": "target"})
	large := map[string]bson.M{
		"sixteen-of-14-MiB":            hostile(sms("sixteen-of-14-MiB"), MiB, 16, 14, "on_done"),
		"one-of-40-MiB":                hostile(charge("one-of-40-MiB"), MiB, 1, 40, "on_done"),
		"one-of-5-MiB":                 hostile(email("one-of-5-MiB"), MiB, 1, 5, "on_done"),
		"three-of-3-MiB":               hostile(sms("three-of-3-MiB"), MiB, 3, 3, "on_done"),
		"on_dead-though-it-is-done":    hostile(charge("on_dead-though-it-is-done"), MiB, 16, 14, "on_dead"),
		"a-business-document":          hostile(email("a-business-document"), MiB, 0, 17, "write_back"),
		"many-references-to-little":    hostile(sms("many-references-to-little"), 64<<10, 16, 100, "on_done"),
		"a-reference-within-a-subject": with(hostile(email("a-reference-within-a-subject"), MiB, 0, 0, "on_done"), bson.M{"on_done": bson.A{bson.M{"kind": "fax", "payload": bson.M{"list": bson.A{"${metadata.a}", "${metadata.a}", "${metadata.a}", "${metadata.a}", "${metadata.a}"}}}}}),
	}
	for _, d := range large {
		w.insert(d)
	}
	small := map[string]int{"three-of-2-MiB": 3, "one-of-3-MiB": 1}
	w.insert(hostile(sms("three-of-2-MiB"), MiB, 3, 2, "on_done"), hostile(charge("one-of-3-MiB"), MiB, 1, 3, "on_done"))
	worker := w.worker()
	for id := range large {
		if in := w.settled(id); in.outcome() != "dead/invalid" || in.LastError.Message == "" || strings.Contains(in.LastError.Message, "xxx") {
			t.Errorf("%s is %s, want dead/invalid with a reason: %.300q", id, in.outcome(), in.LastError.Message)
		}
	}
	for id, count := range small {
		if in := w.settled(id); in.Status != "done" {
			t.Errorf("%s is %s, want done: %.300q", id, in.outcome(), in.LastError.Message)
		}
		for n := range count {
			w.settled(id + ":done:" + strconv.Itoa(n))
		}
	}
	effects := w.sim.tally()
	for id := range large {
		if effects.of(id) != 0 {
			t.Errorf("%s was refused, and had %d effects", id, effects.of(id))
		}
	}
	worker.stop()
}

// A stream of intents that would take gigabytes harms nobody: neighbours are done in time, the worker stays small,
// and it ends in good order.
func TestAStreamOfHostileIntentsHarmsNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brief)
	w.business(bson.M{"_id": "target"})
	worker := w.worker()
	near := []func() []time.Duration{w.neighbours(50*time.Millisecond, sms), w.neighbours(50*time.Millisecond, email), w.neighbours(50*time.Millisecond, charge)}
	kinds := []func(id string) bson.M{charge, email, sms}
	shapes := []struct {
		size, followUps, references int
		field                       string
	}{
		{MiB, 1, 40, "on_done"}, {MiB, 16, 14, "on_done"}, {MiB, 16, 40, "on_done"}, {MiB, 16, 40, "on_dead"}, {MiB, 0, 40, "write_back"},
		{14 * MiB, 1, 1, "on_done"}, {6 * MiB, 16, 3, "on_done"}, {3 * MiB, 1, 1, "on_done"}, {MiB, 7, 1, "on_done"},
	}
	const rounds = 4
	var ids []string
	for n := range rounds * len(shapes) {
		s, id := shapes[n%len(shapes)], fmt.Sprint("hostile-", n)
		d := hostile(kinds[n%len(kinds)](id), s.size, s.followUps, s.references, s.field)
		maps.Copy(d, bson.M{"priority": n % 3})
		w.slip(d)
		ids = append(ids, id)
	}
	for _, id := range ids {
		w.settled(id)
	}
	if ready := w.scrape(worker, "/readyz"); !strings.Contains(ready, "true") && !strings.Contains(ready, "ok") {
		t.Logf("/readyz says %s", ready)
	}
	for _, stop := range near {
		// A quiet machine of two cores shows less than a second; gigabytes go to the database meanwhile, on the same
		// disk.
		w.within(4*neighbourly, stop())
	}
	most := 200 * MiB
	if raceEnabled {
		most *= 4 // what the race detector takes
	}
	took := w.peak(worker)
	t.Logf("the worker took %d MiB at most", took/MiB)
	if took > most {
		t.Errorf("the worker took %d MiB, want at most %d", took/MiB, most/MiB)
	}
	w.waitFor("the follow-ups are settled as well", 0, bson.D{{Key: "status", Value: bson.D{{Key: "$in", Value: bson.A{"pending", "leased"}}}}, {Key: "kind", Value: bson.D{{Key: "$in", Value: bson.A{"charge", "email", "sms"}}}}})
	if n := w.count(bson.D{{Key: "dead_reason", Value: "ambiguous"}}); n > 0 {
		t.Errorf("%d intents are in doubt, though no provider failed", n)
	}
	worker.stop()
}
