package twilio

import (
	"net/url"
	"testing"
	"time"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers/providertest"
)

// TestTextsThatMayBeOne compares texts as they are sent with what Twilio may make of them.
func TestTextsThatMayBeOne(t *testing.T) {
	for name, row := range map[string]struct {
		a, b string
		want bool
	}{
		"the same":                {"It's 4711", "It's 4711", true},
		"a quote mark":            {"It’s 4711", "It's 4711", true},
		"quotes and dashes":       {"“Your code” – 4711…", "\"Your code\" - 4711...", true},
		"spaces around it":        {"  Your code 4711\n", "Your code 4711", true},
		"a space of another sort": {"Your\u00a0code 4711", "Your code 4711", true},
		"HTML entities":           {"Tom & \"Jerry\" 4711", "Tom &amp; &quot;Jerry&quot; 4711", true},
		"an entity by number":     {"It's 4711", "It&#39;s 4711", true},
		"composed and decomposed": {"Größe für café 4711", "Gro\u0308\u00dfe fu\u0308r cafe\u0301 4711", true},
		"accents that GSM lacks":  {"Łódź: 4711", "?ódz: 4711", true},
		"letters that GSM lacks":  {"Привет 4711 from the shop", "?????? 4711 from the shop", true},
		"a ligature":              {"ﬁnal ½ 4711", "final 1⁄2 4711", true},
		"a notice before it":      {"Your code is 4711 today", "Sent from a trial - Your code is 4711 today", true},
		"an emoji that went":      {"Done 🎉 4711", "Done 4711", true},
		"only marks":              {"?!", "…", true},
		"another code":            {"Your code is 4711", "Your code is 4712", false},
		"another word":            {"Your parcel is here", "Your code is 4711", false},
		"a little of it":          {"Your code is 4711", "4711", false},
		"nothing":                 {"Your code is 4711", "", false},
	} {
		if got := alike(row.a, row.b); got != row.want {
			t.Errorf("%s: %v", name, got)
		}
		if got := alike(row.b, row.a); got != row.want {
			t.Errorf("%s, the other way round: %v", name, got)
		}
	}
}

// TestLookUpIsNotSureOfAChangedText: a text that was changed on its way is neither found nor absent, until there is one
// that is exactly this one.
func TestLookUpIsNotSureOfAChangedText(t *testing.T) {
	for name, row := range map[string]struct {
		shown []string // the texts that Twilio shows, at the time of the attempts
		after time.Duration
		found bool
		told  bool
	}{
		"a quote mark":             {[]string{"It's 4711"}, 0, false, false},
		"a quote mark, late":       {[]string{"It's 4711"}, 2 * time.Minute, false, false},
		"trimmed":                  {[]string{"It’s 4711 "}, 0, false, false},
		"entities":                 {[]string{"It&rsquo;s 4711"}, 0, false, false},
		"another text":             {[]string{"Hello"}, 0, false, false},
		"another text, later":      {[]string{"Hello"}, 90 * time.Second, false, true},
		"another text, long after": {[]string{"It's 4711"}, 10 * time.Minute, false, true},
		"exactly this one":         {[]string{"It’s 4711"}, 0, true, true},
		"this one and another":     {[]string{"Hello", "It’s 4711"}, 0, true, true},
		"this one and a like one":  {[]string{"It's 4711", "It’s 4711"}, 0, true, true},
	} {
		server, p := scripted(t)
		in := newIntent()
		in.Payload.(*outbox.SMS).Body = "It’s 4711"
		var list []string
		for _, text := range row.shown {
			list = append(list, message(began.Add(row.after), content, text))
		}
		server.Script(page("null", list...))
		answer, err := p.LookUp(t.Context(), in)
		if answer.Found != row.found || (err == nil) != row.told {
			t.Errorf("%s: %+v, %v", name, answer, err)
		}
		if err != nil && providertest.Failed(t, err).Code != outbox.CodeCannotTell {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestCallbackCarriesAllLabels: two intents with one outbox_id call back differently.
func TestCallbackCarriesAllLabels(t *testing.T) {
	server := providertest.NewServer(t)
	p, err := New(Config{AccountSID: testSID, AuthToken: testToken, URL: server.URL, CallbackBase: "https://hooks.example/t?outbox_ns=forged&a=1", Transport: providertest.NewTransport(t)})
	if err != nil {
		t.Fatal(err)
	}
	object := outbox.NewObjectID([12]byte{1})
	seen := map[string]bool{}
	for _, in := range []*outbox.Intent{
		{ID: object, Namespace: "ns1"}, {ID: outbox.NewStringID(object.String()), Namespace: "ns1"},
		{ID: object, Namespace: "ns2"}, {ID: object, Namespace: "ns1", Generation: 1},
	} {
		u, err := url.Parse(p.callbackFor(in))
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		if q.Get("outbox_id") != object.String() || q.Get("outbox_ns") != in.Namespace || q.Get("a") != "1" || len(q["outbox_ns"]) != 1 {
			t.Errorf("%s: %v", in.Key(""), q)
		}
		seen[u.String()] = true
	}
	if len(seen) != 4 {
		t.Errorf("%d callbacks for 4 intents", len(seen))
	}
}
