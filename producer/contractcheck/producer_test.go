package contractcheck

import (
	"context"
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/outboxd/outboxd/integration/mongodb/mongotest"
	"github.com/outboxd/outboxd/migrations"
	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/producer"
	"github.com/outboxd/outboxd/store"
)

func TestMain(m *testing.M) { mongotest.Main(m) }

func outboxOf(t *testing.T) *mongo.Collection {
	t.Helper()
	db := mongotest.Database(t)
	if _, err := migrations.New(db, "").Register("fax").Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db.Collection(migrations.DefaultCollection)
}

func sms(opts ...producer.Option) *producer.Intent {
	return producer.SMS{To: "+4915112345678", From: "+15005550006", Body: "It is in."}.Intent(opts...)
}

// everything returns intents that together have every field and every option.
func everything() []*producer.Intent {
	address := producer.Address{Email: "a@b.example", Name: "Ada"}
	charge := producer.Charge{Amount: 1999, Currency: "eur", Customer: "cus_1", PaymentMethod: "pm_1", Description: "d", StatementDescriptorSuffix: "s",
		ReceiptEmail: "a@b.example", Metadata: map[string]string{"k": "v"}, Account: "acct_1"}
	email := producer.Email{From: address, To: address, Subject: "s", Text: "t", HTML: "<p>h</p>", ReplyTo: &address, CC: []producer.Address{address},
		BCC: []producer.Address{address}, Categories: []string{"c"},
		Attachments: []producer.Attachment{{Content: "YQ==", Filename: "a.txt", Type: "text/plain", Disposition: "inline", ContentID: "c"}}}
	template := producer.Email{From: address, To: address, TemplateID: "d-1", TemplateData: map[string]any{"name": "Ada"}}
	text := producer.SMS{To: "+4915112345678", MessagingServiceSID: "MG0123456789abcdef0123456789abcdef", Body: "b", MediaURLs: []string{"https://x.example/a.png"}, ValiditySeconds: 60}
	full := charge.Intent(
		producer.ID("order-1"), producer.At(time.Now().Add(time.Hour)), producer.ExpiresAt(time.Now().Add(2*time.Hour)), producer.Priority(0),
		producer.MaxAttempts(3), producer.OnAmbiguous(producer.Park), producer.Metadata(map[string]string{"order": "1"}),
		producer.Trace("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "a=b"), producer.DedupKey("charge:order-1"),
		producer.OnDone(email.Intent(producer.Delay(time.Minute), producer.DedupKey("receipt:${_id}"))),
		producer.OnDead(text.Intent(producer.When("permanent", "exhausted")), producer.Of("fax", bson.D{{Key: "n", Value: "${payload.amount}"}})),
		producer.WriteBack(producer.Update{Collection: "orders", ID: "order-1", Done: bson.D{{Key: "state", Value: "paid"}}, Dead: bson.D{{Key: "state", Value: "failed"}},
			Ambiguous: bson.D{{Key: "state", Value: "unclear"}}}))
	return []*producer.Intent{charge.Intent(), email.Intent(), template.Intent(), text.Intent(), sms(), full, sms(producer.Trace("00", ""))}
}

// Every field and option is one that the database and the worker accept.
func TestEverythingIsAccepted(t *testing.T) {
	t.Parallel()
	c := outboxOf(t)
	all := everything()
	if n, err := producer.Insert(t.Context(), c, all...); err != nil || n != len(all) {
		t.Fatalf("%d of %d written: %v", n, len(all), err)
	}
	cursor, err := c.Find(t.Context(), bson.D{})
	if err != nil {
		t.Fatal(err)
	}
	for cursor.Next(t.Context()) {
		in, err := store.ParseInsert(cursor.Current, outbox.Rules{AnyWriteBack: true})
		if err != nil || len(in.Problems) > 0 {
			t.Errorf("the worker would refuse %s: %v, %v", cursor.Current, err, in.Problems)
		}
	}
	if err := cursor.Err(); err != nil {
		t.Fatal(err)
	}
}

// The types have the contract's fields, all of them and no others.
func TestTypesHaveTheContractsFields(t *testing.T) {
	t.Parallel()
	for path, v := range map[string]any{"payload.charge": producer.Charge{}, "payload.email": producer.Email{}, "payload.sms": producer.SMS{},
		"payload.email.from": producer.Address{}, "payload.email.attachments": producer.Attachment{}, "write_back": producer.Update{}} {
		var got []string
		for f := range reflect.TypeOf(v).Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("bson"), ",")
			got = append(got, name)
		}
		want := migrations.Properties(path)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%T has %v, the contract's %s %v", v, got, path, want)
		}
	}
	var options []string
	for _, in := range everything() {
		raw, err := bson.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		elements, err := bson.Raw(raw).Elements()
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range elements {
			options = append(options, e.Key())
		}
	}
	for _, field := range migrations.Properties("on_done") { // an intent's fields without the worker's, and delay_seconds and when
		if !slices.Contains(append(options, "v", "created_at", "delay_seconds", "when"), field) {
			t.Errorf("no option sets %s", field)
		}
	}
}

// A key that exists is not written again, and does not end the transaction.
func TestInsertOnlyOnceInATransaction(t *testing.T) {
	t.Parallel()
	c := outboxOf(t)
	tries := 0
	for i, want := range []int{2, 1} {
		err := c.Database().Client().UseSession(t.Context(), func(ctx context.Context) error {
			_, err := mongo.SessionFromContext(ctx).WithTransaction(ctx, func(ctx context.Context) (any, error) {
				tries++
				n, err := producer.Insert(ctx, c, sms(producer.DedupKey("received:order-1")), sms())
				if err == nil && n != want {
					t.Errorf("time %d: %d written, want %d", i, n, want)
				}
				return nil, err
			})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if n, err := c.CountDocuments(t.Context(), bson.D{}); err != nil || n != 3 || tries != 2 {
		t.Errorf("%d intents after %d tries, want 3 after 2: %v", n, tries, err)
	}
}

// An intent that breaks the contract is refused in words, without its values, and the same words as the worker's side
// has.
func TestRefusalsAreTold(t *testing.T) {
	t.Parallel()
	c := outboxOf(t)
	const secret = "015112345678"
	for name, in := range map[string]*producer.Intent{
		"a local number": producer.SMS{To: secret, From: "+15005550006", Body: secret}.Intent(),
		"by upsert":      producer.SMS{To: secret, From: "+15005550006", Body: secret}.Intent(producer.DedupKey("k")),
		"no amount":      producer.Charge{Currency: "EUR"}.Intent(producer.Priority(7)),
		"a follow-up":    sms(producer.OnDead(producer.SMS{To: secret}.Intent())),
	} {
		_, err := producer.Insert(t.Context(), c, in)
		refused, ok := errors.AsType[*producer.Refused](err)
		if !ok || len(refused.Reasons) == 0 || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got, want []string
		for _, r := range producer.Reasons(err) {
			got = append(got, r.String())
		}
		for _, r := range migrations.Reasons(err) {
			want = append(want, r.String())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: the reasons are %q, want %q", name, got, want)
		}
	}
	for name, in := range map[string]*producer.Intent{
		"a follow-up with an id":   sms(producer.OnDone(sms(producer.ID("x")))),
		"a follow-up with a date":  sms(producer.OnDead(sms(producer.At(time.Now())))),
		"a delay of the intent":    sms(producer.Delay(time.Second)),
		"reasons of the intent":    sms(producer.When("expired"), producer.DedupKey("r")),
		"a follow-up of follow-up": sms(producer.OnDone(sms(producer.OnDone(sms(producer.ID("x")))))),
	} {
		if _, err := producer.Insert(t.Context(), c, in); err == nil || len(producer.Reasons(err)) > 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n, err := c.CountDocuments(t.Context(), bson.D{}); err != nil || n != 0 {
		t.Errorf("%d intents: %v", n, err)
	}
}

// The two copies of the code that reads an error 121 do not part.
func TestReasonsAreReadAlike(t *testing.T) {
	t.Parallel()
	body := func(file string) string {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, after, ok := strings.Cut(string(text), "// dig walks")
		if !ok {
			t.Fatalf("%s has no function dig", file)
		}
		return after
	}
	if body("../reasons.go") != body("../../migrations/reasons.go") {
		t.Error("producer/reasons.go differs from migrations/reasons.go: copy what was changed")
	}
}
