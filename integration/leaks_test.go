package integration

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/integration/mongodb/mongotest"
	"github.com/outboxd/outboxd/providers/simulator"
)

// secrecy is a configuration under which every fault is over soon. No breaker opens, for every fault is to be met.
const secrecy = `
lanes:
  charge: {rate: 10000/s, timeout: 1s, lease: 6s, retry: {max_attempts: 4, base: 10ms, max: 50ms}, reconcile: {wait: 50ms, interval: 1s, absent_after: 1s, give_up: 3s}, breaker: {min_requests: 10000, consecutive: 10000, open_for: 20ms}}
  email: {timeout: 1s, lease: 6s, retry: {max_attempts: 4, base: 10ms, max: 50ms}, reconcile: {wait: 50ms, interval: 1s, absent_after: 1s, give_up: 3s}, breaker: {min_requests: 10000, consecutive: 10000, open_for: 20ms}}
  sms: {timeout: 1s, lease: 6s, on_ambiguous: reconcile, retry: {max_attempts: 4, base: 10ms, max: 50ms}, reconcile: {wait: 50ms, interval: 1s, absent_after: 1s, give_up: 3s}, breaker: {min_requests: 10000, consecutive: 10000, open_for: 20ms}}
write_back: {collections: [orders]}
kinds: [fax]
`

// Canaries: each stands in one place where something secret may stand. A piece of each is enough to betray it.
const (
	leakStripe   = "sk_live_Leaktjxqv"
	leakSendGrid = "SG.Leakgwzpk.Leakhmbrt"
	leakToken    = "Leaknfdys"
	leakPassword = "Leakvcxeo"

	leakName, leakMail, leakSender = "Leakname Leakfamily", "leakmailbox@leakdomain.example", "leakshop@leaksender.example"
	leakSubject, leakText          = "Leaksubject", "Leaktext"
	leakPhone, leakFrom            = "4915199", "+15550187654" // the beginning of all recipients' numbers
	leakMetadata                   = "Leakmetadata"
)

// leaks are what is searched for. Stripe's client secrets have a middle part that nothing else has.
var leaks = []string{"leak", leakPhone, leakFrom[2:], "_secret_"}

// secretive returns an intent of the kind with a canary in every place that takes one.
func secretive(kind, id string, more bson.M) bson.M {
	payload := bson.M{}
	switch kind {
	case "charge":
		payload = bson.M{"amount": int32(1999), "currency": "eur", "customer": "cus_Leak" + id, "payment_method": "pm_card_visa", "description": leakText,
			"statement_descriptor_suffix": "LEAKSUFFIX", "receipt_email": leakMail, "metadata": bson.M{"k": leakMetadata}}
	case "email":
		payload = bson.M{"from": bson.M{"email": leakSender, "name": leakName}, "to": bson.M{"email": id + leakMail, "name": leakName}, "reply_to": leakMail, "bcc": bson.A{leakMail + ".org"},
			"subject": leakSubject, "text": leakText, "html": "<p>" + leakText + "</p>", "categories": bson.A{"Leakcategory"},
			"attachments": bson.A{bson.M{"content": "TGVhaw==", "filename": "Leakfile.txt", "type": "text/plain"}}}
	case "sms":
		payload = bson.M{"to": leakNumber(id), "from": leakFrom, "body": leakText, "media_urls": bson.A{"https://leakhost.example/" + leakText}}
	}
	d := bson.M{"_id": id, "kind": kind, "status": "pending", "due_at": time.Now(), "payload": payload, "metadata": bson.M{"note": leakMetadata}}
	maps.Copy(d, more)
	return d
}

// leakNumber returns a number of an intent's own.
func leakNumber(id string) string { return "+" + leakPhone + phone(id)[6:14] }

// echo is what a careless provider or proxy answers: everything that it was told.
func echo(provider string) string {
	all := fmt.Sprintf("%s %s %s %s %s %s +%s123 %s pi_1_secret_Leak", leakStripe, leakSendGrid, leakToken, leakName, leakMail, leakText, leakPhone, leakFrom)
	switch provider {
	case simulator.ProviderStripe:
		return fmt.Sprintf(`{"error":{"type":"card_error","code":"%[1]s","decline_code":"%[1]s","message":"%[1]s","param":"%[1]s","payment_intent":{"id":"pi_1","client_secret":"pi_1_secret_Leak","status":"%[1]s"}}}`, all)
	case simulator.ProviderSendGrid:
		return fmt.Sprintf(`{"errors":[{"message":"%[1]s","field":"%[1]s","help":"%[1]s"}],"id":"%[1]s"}`, all)
	default:
		return fmt.Sprintf(`{"code":21211,"message":"%[1]s","more_info":"%[1]s","status":400}`, all)
	}
}

// told are headers of an answer that repeat what they should not.
func told() map[string]string {
	secret := "to " + leakMail + " +" + leakPhone + "123 " + leakToken
	return map[string]string{"Request-Id": secret, "X-Message-Id": secret, "Twilio-Request-Id": secret, "X-Request-Id": secret, "Location": "https://leakhost.example/?key=" + leakStripe}
}

// deeds are all that a simulator can do to an answer.
func deeds(provider, route string) []simulator.Fault {
	var list []simulator.Fault
	for _, when := range []string{simulator.Before, simulator.After} {
		add := func(f simulator.Fault) {
			f.Provider, f.Route, f.When = provider, route, when
			list = append(list, f)
		}
		for _, do := range []string{simulator.DoReset, simulator.DoDrop, simulator.DoHang, simulator.DoTruncate, simulator.DoEmpty, simulator.DoRedirect} {
			add(simulator.Fault{Do: do, Headers: told()})
		}
		for _, status := range []int{200, 400, 402, 404, 408, 409, 413, 418, 424, 500, 502, 503, 504} {
			add(simulator.Fault{Do: simulator.DoStatus, Status: status, Body: echo(provider), Headers: told()})
		}
		for _, status := range []int{200, 400, 404, 502} {
			add(simulator.Fault{Do: simulator.DoHTML, Status: status, Body: "<html>" + echo(provider) + "</html>", Headers: told()})
		}
		add(simulator.Fault{Do: simulator.DoGarbage, Body: echo(provider)[1:]})
		add(simulator.Fault{Do: simulator.DoFlood, Size: 2 << 20})
		add(simulator.Fault{Do: simulator.DoDelay, Delay: 1500 * time.Millisecond})
	}
	return list
}

// Nothing that is secret or personal shows in any log, error, metric, answer, listing, or field that a worker writes,
// whatever providers, documents and configuration do.
func TestSecretsStaySecret(t *testing.T) {
	t.Parallel()
	w := newWorld(t, secrecy)
	w.secrets = []string{"STRIPE_API_KEY=" + leakStripe, "SENDGRID_API_KEY=" + leakSendGrid, "TWILIO_AUTH_TOKEN=" + leakToken}
	worker := w.worker("--log-level=debug")
	shown := map[string]string{}

	w.refuseFollowUps()
	w.everyFault()
	w.declines()
	w.badDocuments()
	w.awaitFinal()
	shown["metrics after the faults"] = w.scrape(worker, "/metrics")

	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden} {
		w.hold(status)
		shown[fmt.Sprint("lanes held by ", status)] = runProgram(t, w.environment(), "outboxd", "lane", "list") + runProgram(t, w.environment(), "outboxd", "lane", "list", "--json")
		shown[fmt.Sprint("metrics held by ", status)] = w.scrape(worker, "/metrics") + w.scrape(worker, "/readyz")
		w.sim.forget()
		for _, kind := range []string{"charge", "email", "sms"} {
			runProgram(t, w.environment(), "outboxd", "lane", "resume", kind)
		}
		w.due("^held-")
		w.awaitFinal() // and the lanes open
	}
	w.limits()
	shown["readiness"] = w.scrape(worker, "/readyz") + w.scrape(worker, "/healthz")
	shown["metrics"] = w.scrape(worker, "/metrics")
	worker.stop()
	shown["log"], shown["output"] = worker.errOut.String(), worker.out.String()
	last := w.worker("--log-level=debug", "--log-format=text", "--until-empty")
	last.succeed()
	shown["log as text"] = last.errOut.String() + last.out.String()

	asked := map[string]*process{}
	for _, command := range []string{"dead list", "dead list --json", "stats", "stats --json", "lane list", "lane list --json", "dead retry --dry-run", "dead retry --dry-run --json", "doctor", "doctor --json"} {
		asked[command] = start(t, append(w.environment(), "OUTBOXD_LOG_LEVEL=debug"), "outboxd", strings.Fields(command)...)
	}
	for n, env := range w.wrongConfigurations() {
		asked[fmt.Sprint("configuration ", n)] = start(t, env, "outboxd", "worker", "--log-level=debug", "--connect-timeout=2s")
	}
	for what, p := range asked {
		if code := p.code(); code == 0 && strings.HasPrefix(what, "configuration") { // a command may refuse something, which is an answer as well
			t.Errorf("%s is not refused", what)
		}
		shown[what] = p.out.String() + p.errOut.String()
	}
	shown["dead list --json"] = withoutMetadata(t, asked["dead list --json"].out.String())
	shown["the database"] = w.written()
	for what, text := range shown {
		lower := strings.ToLower(text)
		if lower == "" && what != "output" {
			t.Errorf("%s: there is nothing to search", what)
		}
		for _, leak := range leaks {
			if at := strings.Index(lower, leak); at >= 0 {
				t.Errorf("%s shows %q: …%s…", what, leak, text[max(0, at-300):min(len(text), at+100)])
			}
		}
	}
}

// withoutMetadata takes from a listing what it is documented to show of a producer's own.
func withoutMetadata(tb testing.TB, listing string) string {
	tb.Helper()
	var all strings.Builder
	for line := range strings.Lines(listing) {
		var d map[string]json.RawMessage
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			tb.Fatal(err)
		}
		delete(d, "metadata")
		fmt.Fprintf(&all, "%s\n", d)
	}
	return all.String()
}

// everyFault has each kind of intent meet each fault on each of its calls.
func (w *world) everyFault() {
	w.Helper()
	for _, route := range []struct{ provider, name, kind string }{
		{"stripe", "create", "charge"}, {"stripe", "confirm", "charge"}, {"sendgrid", "send", "email"}, {"twilio", "send", "sms"},
		{"stripe", "retrieve", "charge"}, {"sendgrid", "logs", "email"}, {"sendgrid", "log", "email"}, {"twilio", "list", "sms"},
	} {
		var faults []simulator.Fault
		var docs []bson.M
		for n, fault := range deeds(route.provider, route.name) {
			id := fmt.Sprintf("%s-%s-%d", route.provider, route.name, n)
			match := simulator.Match{OutboxID: id}
			if route.kind == "sms" {
				match = simulator.Match{To: leakNumber(id)}
			}
			switch route.name {
			case "retrieve", "logs", "log", "list": // only asked for what is ambiguous
				first := simulator.Fault{Provider: route.provider, Route: "send", When: simulator.After, Do: simulator.DoDrop, Match: match}
				if route.kind == "charge" {
					first.Route = "confirm"
				}
				faults = append(faults, first)
				if route.kind == "email" { // the log is asked by address and by message, neither of which is known here
					match = simulator.Match{}
				}
			}
			fault.Match = match
			faults, docs = append(faults, fault), append(docs, secretive(route.kind, id, nil))
		}
		w.sim.fail(faults...)
		w.insert(docs...)
	}
	// A refused look-up makes all look-ups wait, and reconcile.give_up goes on meanwhile: some end without having
	// been asked.
	asks := func(f simulator.FaultState) bool {
		return slices.Contains([]string{"retrieve", "logs", "log", "list"}, f.Fault.Route)
	}
	eventuallyWithin(w, 3*patience, "every fault of a delivery is met by a request, and all intents have ended", func() bool {
		return !slices.ContainsFunc(w.sim.unmet(), func(f simulator.FaultState) bool { return !asks(f) }) &&
			w.count(bson.D{{Key: "status", Value: bson.D{{Key: "$in", Value: bson.A{"pending", "leased"}}}}, {Key: "kind", Value: bson.D{{Key: "$in", Value: bson.A{"charge", "email", "sms"}}}}}) == 0
	})
	w.Logf("%d faults of look-ups were met by none", len(w.sim.unmet()))
	w.sim.forget()
}

// declines are the refusals that providers' own test values cause.
func (w *world) declines() {
	w.Helper()
	for _, method := range []string{"pm_card_chargeDeclined", "pm_card_visa_chargeDeclinedInsufficientFunds", "pm_card_authenticationRequired", "pm_usBankAccount_success"} {
		d := secretive("charge", "decline-"+method, nil)
		d["payload"].(bson.M)["payment_method"] = method
		w.insert(d)
	}
	for _, to := range []string{"+15005550001", "+15005550002", "+15005550003", "+15005550004", "+15005550009"} {
		d := secretive("sms", "decline-"+to, nil)
		d["_id"] = "decline-" + to[8:]
		d["payload"].(bson.M)["to"] = to
		w.insert(d)
	}
}

// refuseFollowUps has the database refuse a kind, as a validator of the user's own may, and a business document.
func (w *world) refuseFollowUps() {
	w.Helper()
	orders := w.db.Collection("orders")
	if _, err := orders.InsertMany(w.Context(), []any{bson.M{"_id": leakMail, "email": leakMail}, bson.M{"_id": leakName, "email": leakName}}); err != nil {
		w.Fatal(err)
	}
	if _, err := orders.Indexes().CreateOne(w.Context(), mongo.IndexModel{Keys: bson.D{{Key: "email", Value: 1}}, Options: options.Index().SetUnique(true)}); err != nil {
		w.Fatal(err)
	}
	follow := bson.M{"kind": "fax", "payload": bson.M{"to": leakPhone, "text": "${payload.body}", "name": leakName}}
	clash := follow
	back := func(id any, set bson.M) bson.M {
		return bson.M{"collection": "orders", "id": id, "done": set, "dead": set}
	}
	w.insert(
		secretive("sms", "follow", bson.M{"on_done": bson.A{follow}, "write_back": back("Leakmissing", bson.M{"name": leakName})}),
		secretive("sms", "clash", bson.M{"on_done": bson.A{clash}, "write_back": back(leakMail, bson.M{"email": leakName})}), // a unique index refuses it, and quotes it
		secretive("sms", "shape", bson.M{"write_back": back(leakMail, bson.M{"email.name": leakName})}),                      // a string has no fields; the refusal quotes it
		secretive("sms", "dedup", bson.M{"dedup_key": "Leakdedup", "on_done": bson.A{bson.M{"kind": "fax", "dedup_key": "Leakdedup", "payload": bson.M{}}}}),
	)
	w.smuggle(bson.M{"_id": "clash:done:0", "kind": "fax", "status": "cancelled", "payload": bson.M{"text": leakText}})
	var coll struct {
		Options struct{ Validator bson.Raw }
	}
	cursor, err := w.db.ListCollections(w.Context(), bson.D{{Key: "name", Value: "outbox"}})
	if err != nil || !cursor.Next(w.Context()) || cursor.Decode(&coll) != nil {
		w.Fatalf("read the validator: %v", err)
	}
	defer cursor.Close(w.Context())
	stricter := bson.D{{Key: "$and", Value: bson.A{coll.Options.Validator, bson.D{{Key: "payload.name", Value: bson.D{{Key: "$ne", Value: leakName}}}}}}}
	if err := w.db.RunCommand(w.Context(), bson.D{{Key: "collMod", Value: "outbox"}, {Key: "validator", Value: stricter}}).Err(); err != nil {
		w.Fatal(err)
	}
	for _, id := range []string{"follow", "clash", "shape", "dedup"} {
		w.settled(id)
	}
	if err := w.db.RunCommand(w.Context(), bson.D{{Key: "collMod", Value: "outbox"}, {Key: "validator", Value: coll.Options.Validator}}).Err(); err != nil {
		w.Fatal(err)
	}
}

// badDocuments are written past the validator, with canaries where they are least expected.
func (w *world) badDocuments() {
	w.Helper()
	var docs []any
	for n, more := range []bson.M{
		{"payload": leakText}, {"payload": bson.M{"to": leakText, "from": leakMail, "body": ""}}, {"payload": bson.M{"to": leakNumber("x"), leakMail: 1, leakNumber("y"): 2, leakName: 3}},
		{"metadata": bson.M{leakMail: 5, leakNumber("z"): 6, "note": bson.M{"a": leakText}}}, {"metadata": leakText}, {"status": leakText}, {"due_at": leakText}, {"priority": leakText},
		{"on_ambiguous": leakText}, {"trace": bson.M{"traceparent": bson.A{leakText}}}, {"attempts": leakText}, {"lease": leakText}, {"history": bson.A{leakText}}, {"progress": leakText},
		{"last_error": leakText}, {"result": leakText}, {"dead_reason": bson.A{leakText}}, {"expires_at": leakText}, {"max_attempts": leakText}, {"unknown": leakText},
		{"on_done": bson.A{bson.M{"kind": "fax", "payload": bson.M{"a": "${" + leakNumber("q") + "}", "b": "${payload." + leakMail + "}", "c": "${" + leakText + " " + leakName}}}},
		{"on_dead": bson.A{bson.M{"kind": "sms", "payload": bson.M{"to": leakMail, "body": leakText}}}, "payload": leakText},
		{"write_back": bson.M{"collection": leakMail, "id": leakName, "done": bson.M{"a": leakText}}}, {"write_back": bson.M{"collection": "orders", "id": bson.M{"$gt": leakName}, "done": bson.M{"$" + leakMail: leakText}}},
	} {
		docs = append(docs, secretive("sms", fmt.Sprint("bad-", n), more))
	}
	w.smuggle(docs...)
}

// hold has each lane meet a refusal of its credentials.
func (w *world) hold(status int) {
	w.Helper()
	for provider, kind := range map[string]string{"stripe": "charge", "sendgrid": "email", "twilio": "sms"} {
		w.sim.fail(simulator.Fault{Provider: provider, Do: simulator.DoStatus, Status: status, Body: strings.ReplaceAll(echo(provider), `"code":21211`, `"code":20003`), Headers: told(), Match: simulator.Match{Times: -1}})
		for n := range 2 { // a second, different intent confirms a hold
			w.insert(secretive(kind, fmt.Sprint("held-", kind, "-", status, "-", n), nil))
		}
	}
	eventually(w, "every lane is held", func() bool {
		n, err := w.db.Collection("outbox_lanes").CountDocuments(w.Context(), bson.D{{Key: "hold", Value: bson.D{{Key: "$exists", Value: true}}}})
		return err == nil && n == 3
	})
}

// due makes intents due at once, whose lane tries one a minute while it is held.
func (w *world) due(ids string) {
	w.Helper()
	if _, err := w.outbox.UpdateMany(w.Context(), bson.D{{Key: "_id", Value: bson.Regex{Pattern: ids}}, {Key: "status", Value: "pending"}}, bson.D{{Key: "$set", Value: bson.D{{Key: "due_at", Value: time.Now()}}}}); err != nil {
		w.Fatal(err)
	}
}

// limits has each lane meet a limit of its rate.
func (w *world) limits() {
	w.Helper()
	for provider, kind := range map[string]string{"stripe": "charge", "sendgrid": "email", "twilio": "sms"} {
		headers := told()
		headers["Retry-After"], headers["X-RateLimit-Reset"] = "1", "+1"
		w.sim.fail(simulator.Fault{Provider: provider, Do: simulator.DoStatus, Status: http.StatusTooManyRequests, Body: strings.ReplaceAll(echo(provider), `"code":21211`, `"code":20429`), Headers: headers})
		w.insert(secretive(kind, "limited-"+kind, nil))
	}
	w.awaitFinal()
}

// awaitFinal waits until nothing is left to do, but for what nobody serves and what only a sweep sees.
func (w *world) awaitFinal() {
	w.Helper()
	eventually(w, "every intent is settled", func() bool {
		return w.count(bson.D{{Key: "kind", Value: bson.D{{Key: "$in", Value: bson.A{"charge", "email", "sms"}}}}, {Key: "status", Value: bson.D{{Key: "$in", Value: bson.A{"pending", "leased"}}}},
			{Key: "due_at", Value: bson.D{{Key: "$type", Value: "date"}}}, {Key: "priority", Value: nil}}) == 0
	})
}

// written is all that workers write into the database.
func (w *world) written() string {
	w.Helper()
	var all strings.Builder
	fields := bson.D{}
	for _, f := range []string{"last_error", "history", "result", "progress", "lease", "dead_reason"} {
		fields = append(fields, bson.E{Key: f, Value: 1})
	}
	for name, o := range map[string]*options.FindOptionsBuilder{"outbox": options.Find().SetProjection(fields), "outbox_lanes": options.Find(), "outbox_workers": options.Find(), "outbox_meta": options.Find()} {
		cursor, err := w.db.Collection(name).Find(w.Context(), bson.D{}, o)
		if err != nil {
			w.Fatal(err)
		}
		for cursor.Next(w.Context()) {
			id, _ := cursor.Current.Lookup("_id").StringValueOK()
			own := slices.Contains([]string{"bad-11", "bad-12", "bad-13", "bad-14", "bad-15", "bad-16"}, id) // a producer wrote into these fields
			if message, _ := cursor.Current.Lookup("last_error", "message").StringValueOK(); own {
				fmt.Fprintln(&all, id, message)
				continue
			}
			fmt.Fprintln(&all, name, cursor.Current)
		}
		if err := cursor.Err(); err != nil {
			w.Fatal(err)
		}
	}
	return all.String()
}

// wrongConfigurations are environments with which no worker can start.
func (w *world) wrongConfigurations() [][]string {
	secret := filepath.Join(w.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(leakStripe), 0o600); err != nil {
		w.Fatal(err)
	}
	uri := mongotest.URI(w)
	var list [][]string
	for _, more := range [][]string{
		{"STRIPE_API_KEY_FILE=" + secret}, {"STRIPE_API_KEY=" + leakStripe + " x"}, {"STRIPE_API_URL=https://user:" + leakPassword + "@h"}, {"TWILIO_API_URL=" + leakToken},
		{"OUTBOXD_MONGODB_URI=mongodb://user:" + leakPassword + "@h/?maxPoolSize=" + leakPassword}, {"OUTBOXD_MONGODB_URI=mongodb://user:" + leakPassword + "%@h"}, {"OUTBOXD_MONGODB_URI=" + leakPassword},
		{"OUTBOXD_MONGODB_URI=mongodb://user:" + leakPassword + "@127.0.0.1:1/"}, {"OUTBOXD_MONGODB_URI=" + strings.Replace(uri, "mongodb://", "mongodb://user:"+leakPassword+"@", 1)},
		{"OUTBOXD_DATABASE=mongodb://user:" + leakPassword + "@h"}, {"OUTBOXD_LISTEN=mongodb://user:" + leakPassword + "@h"},
	} {
		list = append(list, append(w.environment(), more...))
	}
	return list
}
