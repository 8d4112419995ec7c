package migrations_test

import (
	"math"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

type doc = bson.M

const serviceSID = "MG0123456789abcdef0123456789abcdef"

func intent(kind string, payload any) doc {
	return doc{"kind": kind, "status": "pending", "due_at": time.Now(), "payload": payload}
}

func sms(change ...func(doc)) doc {
	return changed(doc{"to": "+4915112345678", "from": "+15550100", "body": "Your code is 4711"}, change)
}

func charge(change ...func(doc)) doc {
	return changed(doc{"amount": int32(1999), "currency": "eur", "customer": "cus_1", "payment_method": "pm_1"}, change)
}

func email(change ...func(doc)) doc {
	return changed(doc{"from": "shop@example.com", "to": "ann@example.com", "subject": "Hello", "text": "Hello, Ann"}, change)
}

func changed(d doc, change []func(doc)) doc {
	for _, c := range change {
		c(d)
	}
	return d
}

func set(field string, value any) func(doc) { return func(d doc) { d[field] = value } }

func unset(fields ...string) func(doc) {
	return func(d doc) {
		for _, f := range fields {
			delete(d, f)
		}
	}
}

func decimal(s string) bson.Decimal128 {
	d, err := bson.ParseDecimal128(s)
	if err != nil {
		panic(err)
	}
	return d
}

func uuid() bson.Binary {
	return bson.Binary{Subtype: bson.TypeBinaryUUID, Data: []byte("0123456789abcdef")}
}

func repeat(n int, v any) bson.A {
	list := make(bson.A, n)
	for i := range list {
		list[i] = v
	}
	return list
}

func texts(n int) doc {
	d := doc{}
	for i := range n {
		d["k"+strings.Repeat("x", i)] = "v"
	}
	return d
}

// followUp is a valid follow-up that refers to its parent wherever the contract lets it.
func followUp() doc {
	return doc{
		"kind":          "charge",
		"payload":       doc{"amount": "${payload.amount}", "currency": "${payload.currency}", "customer": "${payload.customer}", "payment_method": "pm_${metadata.pm}", "statement_descriptor_suffix": "order ${payload.order} of this year", "metadata": doc{"parent": "${_id}"}},
		"expires_at":    "${payload.expires}",
		"priority":      "${payload.priority}",
		"max_attempts":  float64(3),
		"dedup_key":     "${_id}:again",
		"on_ambiguous":  "reconcile",
		"metadata":      doc{"order": "${payload.order}"},
		"delay_seconds": int32(60),
	}
}

func nested(levels int) doc {
	f := followUp()
	if levels > 1 {
		f["on_dead"] = bson.A{nested(levels - 1)}
	}
	return f
}

// deep returns so many documents and arrays within each other around a value.
func deep(levels int, v any) any {
	for n := range levels {
		if n%2 == 0 && n < levels-1 {
			v = bson.A{v}
		} else {
			v = doc{"x": v}
		}
	}
	return v
}

type sample struct {
	name   string
	doc    doc
	want   string // words of the description that the server's explanation must hold; empty: valid
	path   string // of that reason
	update bool   // no producer's document: the JSON Schema of producers does not speak of it
	query  bool   // a rule that JSON Schema cannot express
}

// samples are documents that the contract allows and documents that it does not.
func samples() []sample {
	now := time.Now()
	with := func(change ...func(doc)) doc { return changed(intent("sms", sms()), change) }
	fu := func(change ...func(doc)) doc { return with(set("on_done", bson.A{changed(followUp(), change)})) }
	paySMS := func(change ...func(doc)) doc { return intent("sms", sms(change...)) }
	payCharge := func(change ...func(doc)) doc { return intent("charge", charge(change...)) }
	byTemplate := func(data any) doc {
		return intent("email", email(unset("subject", "text"), set("template_id", "d-1"), set("template_data", data)))
	}
	payEmail := func(change ...func(doc)) doc { return intent("email", email(change...)) }
	return []sample{
		{name: "smallest sms", doc: with()},
		{name: "smallest charge", doc: payCharge()},
		{name: "smallest email", doc: payEmail()},
		{name: "registered kind", doc: intent("fax", doc{"anything": doc{"goes": true}})},
		{name: "mistyped kind", doc: intent("emial", email()), want: "one that is registered: charge, email, sms, fax", path: "kind"},
		{name: "whole envelope", doc: with(set("_id", "order-1:sms"), set("v", int64(1)), set("expires_at", now), set("priority", float64(0)),
			set("dedup_key", "d"), set("max_attempts", int64(100)), set("on_ambiguous", "park"), set("metadata", doc{"order": "1"}),
			set("trace", doc{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "a=b"}), set("created_at", now),
			set("on_done", bson.A{}), set("on_dead", repeat(16, followUp())),
			set("write_back", doc{"collection": "orders", "id": "${payload.order}", "done": doc{"state.sms": "sent"}, "dead": doc{"error": "${last_error.code}"}}))},
		{name: "uuid _id", doc: with(set("_id", uuid()))},
		{name: "200 bytes _id", doc: with(set("_id", strings.Repeat("é", 100)))},
		{name: "write_back by ObjectId", doc: with(set("write_back", doc{"collection": "orders", "id": bson.NewObjectID(), "dead": doc{"a": 1}}))},
		{name: "reference in a parent is text", doc: paySMS(set("body", "${not a reference}"))},

		{name: "empty", doc: doc{}, want: "Required: kind, status, payload"},
		{name: "typing error", doc: with(set("on_ambigous", "park")), want: "check the spelling"},
		{name: "worker's field of the wrong type", doc: with(set("attempts", "1")), want: "written by the worker", path: "attempts", update: true},
		{name: "int _id", doc: with(set("_id", int32(7))), want: "_id must be an ObjectId", path: "_id"},
		{name: "empty _id", doc: with(set("_id", "")), want: "_id must be an ObjectId", path: "_id"},
		{name: "long _id", doc: with(set("_id", strings.Repeat("x", 201))), want: "_id must be an ObjectId", path: "_id"},
		{name: "long _id in bytes", doc: with(set("_id", strings.Repeat("é", 101))), want: "_id must be an ObjectId", path: "_id", query: true},
		{name: "old UUID _id", doc: with(set("_id", bson.Binary{Subtype: bson.TypeBinaryUUIDOld, Data: []byte("0123456789abcdef")})), want: "_id must be an ObjectId", path: "_id"},
		{name: "short UUID _id", doc: with(set("_id", bson.Binary{Subtype: bson.TypeBinaryUUID, Data: []byte("0123")})), want: "_id must be an ObjectId", path: "_id"},
		{name: "v 2", doc: with(set("v", int32(2))), want: "the version of the contract", path: "v"},
		{name: "no kind", doc: with(unset("kind")), want: "Required: kind"},
		{name: "empty kind", doc: with(set("kind", "")), want: "kind must be", path: "kind"},
		{name: "status", doc: with(set("status", "queued")), want: "a producer inserts pending", path: "status"},
		{name: "no due_at", doc: with(unset("due_at")), want: "due_at is required while"},
		{name: "due_at as text", doc: with(set("due_at", now.String())), want: "due_at must be a BSON Date", path: "due_at"},
		{name: "due_at as number", doc: with(set("due_at", now.UnixMilli())), want: "due_at must be a BSON Date", path: "due_at"},
		{name: "due_at null", doc: with(set("due_at", nil)), want: "due_at must be a BSON Date", path: "due_at"},
		{name: "no payload", doc: with(unset("payload")), want: "Required: kind, status, payload"},
		{name: "payload as text", doc: intent("fax", "text"), want: "payload must be a document", path: "payload"},
		{name: "priority 4", doc: with(set("priority", int32(4))), want: "priority must be an integer from 0 to 3", path: "priority"},
		{name: "priority 1.5", doc: with(set("priority", 1.5)), want: "priority must be an integer from 0 to 3", path: "priority"},
		{name: "priority decimal", doc: with(set("priority", decimal("1"))), want: "no Decimal128", path: "priority"},
		{name: "ordering_key", doc: with(set("ordering_key", "k")), want: "not supported by this release", path: "ordering_key"},
		{name: "empty dedup_key", doc: with(set("dedup_key", "")), want: "dedup_key must be", path: "dedup_key"},
		{name: "max_attempts 0", doc: with(set("max_attempts", int32(0))), want: "max_attempts must be an integer from 1 to 100", path: "max_attempts"},
		{name: "max_attempts 101", doc: with(set("max_attempts", int32(101))), want: "max_attempts must be an integer from 1 to 100", path: "max_attempts"},
		{name: "on_ambiguous", doc: with(set("on_ambiguous", "ignore")), want: "on_ambiguous must be one of retry, reconcile, park", path: "on_ambiguous"},
		{name: "metadata number", doc: with(set("metadata", doc{"order": int32(1)})), want: "A metadata value must be a string", path: "metadata"},
		{name: "metadata outbox_id", doc: with(set("metadata", doc{"outbox_id": "x"})), want: "outbox_id is reserved", path: "metadata.outbox_id"},
		{name: "trace", doc: with(set("trace", "00-…")), want: "trace must be a document", path: "trace"},
		{name: "trace field", doc: with(set("trace", doc{"parent": "x"})), want: "The fields of trace are", path: "trace"},
		{name: "created_at", doc: with(set("created_at", "today")), want: "created_at must be a BSON Date", path: "created_at"},
		{name: "write_back without id", doc: with(set("write_back", doc{"collection": "orders", "done": doc{"a": 1}})), want: "Required: collection, id", path: "write_back"},
		{name: "write_back null id", doc: with(set("write_back", doc{"collection": "orders", "id": nil, "done": doc{"a": 1}})), want: "write_back.id must be", path: "write_back.id"},
		{name: "write_back operator", doc: with(set("write_back", doc{"collection": "orders", "id": 1, "done": doc{"$inc": doc{"a": 1}}})), want: "ordinary path", path: "write_back.done.$inc"},
		{name: "write_back _id", doc: with(set("write_back", doc{"collection": "orders", "id": 1, "dead": doc{"_id": 2}})), want: "ordinary path", path: "write_back.dead._id"},

		{name: "charge int64", doc: payCharge(set("amount", int64(99_999_999)))},
		{name: "charge double", doc: payCharge(set("amount", float64(50)))},
		{name: "charge with all", doc: payCharge(set("description", "d"), set("statement_descriptor_suffix", strings.Repeat("ü", 22)), set("receipt_email", "a@b.de"), set("metadata", texts(40)), set("account", "acct_1"))},
		{name: "charge without amount", doc: payCharge(unset("amount")), want: "Required: amount, currency, customer, payment_method", path: "payload"},
		{name: "charge fraction", doc: payCharge(set("amount", 19.99)), want: "minor unit", path: "payload.amount"},
		{name: "charge decimal", doc: payCharge(set("amount", decimal("5"))), want: "minor unit", path: "payload.amount"},
		{name: "charge reference", doc: payCharge(set("amount", "${payload.amount}")), want: "minor unit", path: "payload.amount"},
		{name: "charge 0", doc: payCharge(set("amount", int32(0))), want: "minor unit", path: "payload.amount"},
		{name: "charge too much", doc: payCharge(set("amount", int32(100_000_000))), want: "from 1 to 99999999", path: "payload"},
		{name: "charge of twelve digits in IDR", doc: payCharge(set("amount", int64(999_999_999_999)), set("currency", "idr"))},
		{name: "charge of thirteen digits in IDR", doc: payCharge(set("amount", int64(1_000_000_000_000)), set("currency", "idr")), want: "minor unit", path: "payload.amount"},
		{name: "charge of nine digits in INR", doc: payCharge(set("amount", float64(999_999_999)), set("currency", "inr"))},
		{name: "charge of ten digits in INR", doc: payCharge(set("amount", int64(1_000_000_000)), set("currency", "inr")), want: "INR nine digits", path: "payload"},
		{name: "charge of ten digits in JPY", doc: payCharge(set("amount", int64(9_999_999_999)), set("currency", "jpy"))},
		{name: "charge of ten digits in KRW", doc: payCharge(set("amount", int64(9_999_999_999)), set("currency", "krw")), want: "eight digits", path: "payload"},
		{name: "charge of eleven digits in LBP", doc: payCharge(set("amount", int64(99_999_999_999)), set("currency", "lbp"))},
		{name: "charge of 5.12 KWD", doc: payCharge(set("amount", int32(5120)), set("currency", "kwd"))},
		{name: "charge of 5.124 KWD", doc: payCharge(set("amount", int32(5124)), set("currency", "kwd")), want: "multiple of 10", path: "payload"},
		{name: "charge of 5.125 TND as a double", doc: payCharge(set("amount", float64(5125)), set("currency", "tnd")), want: "multiple of 10", path: "payload"},
		{name: "charge of 5 ISK", doc: payCharge(set("amount", int32(500)), set("currency", "isk"))},
		{name: "charge of 5.50 ISK", doc: payCharge(set("amount", int32(550)), set("currency", "isk")), want: "of 100 for ISK", path: "payload"},
		{name: "charge of 5.01 UGX", doc: payCharge(set("amount", int64(501)), set("currency", "ugx")), want: "of 100 for ISK", path: "payload"},
		{name: "charge of 1000.45 TWD", doc: payCharge(set("amount", int32(100_045)), set("currency", "twd"))},
		{name: "charge of 0.49 USD", doc: payCharge(set("amount", int32(49)), set("currency", "usd")), want: "below Stripe's minimum", path: "payload"},
		{name: "charge of 0.30 GBP", doc: payCharge(set("amount", int32(30)), set("currency", "gbp"))},
		{name: "charge of 0.29 GBP", doc: payCharge(set("amount", int32(29)), set("currency", "gbp")), want: "below Stripe's minimum", path: "payload"},
		{name: "charge of 174.99 HUF", doc: payCharge(set("amount", int32(17_499)), set("currency", "huf")), want: "below Stripe's minimum", path: "payload"},
		{name: "charge of 49 JPY", doc: payCharge(set("amount", int32(49)), set("currency", "jpy")), want: "below Stripe's minimum", path: "payload"},
		{name: "charge of 1 VND", doc: payCharge(set("amount", int32(1)), set("currency", "vnd"))},
		{name: "charge EUR", doc: payCharge(set("currency", "EUR")), want: "lower-case ISO 4217", path: "payload.currency"},
		{name: "charge line feed", doc: payCharge(set("currency", "eur\n")), want: "lower-case ISO 4217", path: "payload.currency"},
		{name: "charge customer", doc: payCharge(set("customer", "")), want: "id of the Stripe customer", path: "payload.customer"},
		{name: "charge payment_method", doc: payCharge(set("payment_method", int32(1))), want: "Stripe payment method", path: "payload.payment_method"},
		{name: "charge suffix", doc: payCharge(set("statement_descriptor_suffix", strings.Repeat("x", 23))), want: "1 to 22 characters", path: "payload.statement_descriptor_suffix"},
		{name: "charge receipt", doc: payCharge(set("receipt_email", "Ann <a@b.de>")), want: "one e-mail address", path: "payload.receipt_email"},
		{name: "charge 50 metadata", doc: payCharge(set("metadata", func() doc {
			d := doc{}
			for i := range 50 {
				d[string(rune('A'+i))] = "v"
			}
			return d
		}())), want: "at most 47 strings", path: "payload.metadata"},
		{name: "charge metadata key", doc: payCharge(set("metadata", doc{strings.Repeat("k", 41): "v"})), want: "keys of 1 to 40 characters", path: "payload.metadata"},
		{name: "charge metadata value", doc: payCharge(set("metadata", doc{"k": strings.Repeat("v", 501)})), want: "at most 500 characters", path: "payload.metadata.k"},
		{name: "charge outbox_id", doc: payCharge(set("metadata", doc{"outbox_id": "v"})), want: "outbox_id is reserved", path: "payload.metadata.outbox_id"},
		{name: "charge outbox_ns", doc: payCharge(set("metadata", doc{"outbox_ns": "v"})), want: "outbox_ns is reserved", path: "payload.metadata.outbox_ns"},
		{name: "metadata outbox_ns", doc: with(set("metadata", doc{"outbox_ns": "x"})), want: "outbox_ns is reserved", path: "metadata.outbox_ns"},
		{name: "metadata outbox_key", doc: with(set("metadata", doc{"outbox_key": "x"})), want: "outbox_key is reserved", path: "metadata.outbox_key"},
		{name: "charge typing error", doc: payCharge(set("ammount", int32(1))), want: "The fields of the payload of kind charge are", path: "payload"},

		{name: "email with all", doc: payEmail(set("from", doc{"email": "a@b.de", "name": "Shop"}), set("html", "<p>"), set("reply_to", "r@b.de"),
			set("cc", repeat(499, "c@b.de")), set("bcc", repeat(500, doc{"email": "c@b.de"})), set("categories", repeat(10, "c")),
			set("attachments", bson.A{doc{"content": "YQ==", "filename": "a.txt", "type": "text/plain", "disposition": "inline", "content_id": "a"}}))},
		{name: "email by template", doc: payEmail(unset("subject", "text"), set("template_id", "d-1"), set("template_data", doc{"a": doc{"b": bson.A{1}}}))},
		{name: "email by a template of all that JSON has", doc: byTemplate(bson.D{{Key: "z", Value: nil}, {Key: "a", Value: bson.A{int32(1), int64(2), 1.5, true, "x", bson.A{}, doc{}}},
			{Key: "at", Value: now}, {Key: "id", Value: bson.NewObjectID()}, {Key: "uuid", Value: uuid()}})},
		{name: "email by a deep template", doc: byTemplate(deep(8, "x"))},
		{name: "email by a template too deep", doc: byTemplate(deep(9, "x")), want: "at most eight levels", path: "payload.template_data", query: true},
		{name: "email by a template with a decimal", doc: byTemplate(doc{"price": decimal("9.99")}), want: "No Decimal128", path: "payload.template_data", query: true},
		{name: "email by a template with a deep decimal", doc: byTemplate(deep(7, bson.A{decimal("9.99")})), want: "No Decimal128", path: "payload.template_data", query: true},
		{name: "email by a template with NaN", doc: byTemplate(doc{"items": bson.A{doc{"price": math.NaN()}}}), want: "no NaN", path: "payload.template_data", query: true},
		{name: "email by a template with Infinity", doc: byTemplate(doc{"x": math.Inf(-1)}), want: "no Infinity", path: "payload.template_data", query: true},
		{name: "email by a template with a regular expression", doc: byTemplate(doc{"x": bson.Regex{Pattern: "x"}}), want: "no other type", path: "payload.template_data", query: true},
		{name: "email by a template with bytes", doc: byTemplate(doc{"x": bson.Binary{Data: []byte("x")}}), want: "no other type", path: "payload.template_data", query: true},
		{name: "email by a template with a timestamp", doc: byTemplate(doc{"x": bson.A{bson.Timestamp{T: 1}}}), want: "no other type", path: "payload.template_data", query: true},
		{name: "follow-up email with a decimal", doc: fu(set("kind", "email"), set("payload", doc{"from": "a@b.de", "to": "a@b.de", "template_id": "d-1", "template_data": doc{"x": decimal("1")}})),
			want: "No Decimal128", path: "on_done", query: true},
		{name: "deep follow-up email with a decimal", doc: with(set("on_dead", bson.A{doc{"kind": "fax", "payload": doc{}, "on_done": bson.A{doc{"kind": "fax", "payload": doc{}, "on_dead": bson.A{
			doc{"kind": "email", "payload": doc{"from": "a@b.de", "to": "a@b.de", "template_id": "d-1", "template_data": doc{"x": bson.A{decimal("1")}}}}}}}}})),
			want: "No Decimal128", path: "on_dead", query: true},
		{name: "template_data of another kind", doc: intent("fax", doc{"template_data": doc{"x": decimal("1")}})},
		{name: "email without content", doc: payEmail(unset("text")), want: "An email needs subject with text", path: "payload"},
		{name: "email without subject", doc: payEmail(unset("subject")), want: "An email needs subject with text", path: "payload"},
		{name: "email template_data alone", doc: payEmail(set("template_data", doc{})), want: "template_data goes with template_id only", path: "payload"},
		{name: "email to list", doc: payEmail(set("to", bson.A{"a@b.de"})), want: "to must be one e-mail address", path: "payload.to"},
		{name: "email to no address", doc: payEmail(set("to", "ann")), want: "to must be one e-mail address", path: "payload.to"},
		{name: "email name without address", doc: payEmail(set("from", doc{"name": "Shop"})), want: "from must be one e-mail address", path: "payload.from"},
		{name: "email address field", doc: payEmail(set("from", doc{"email": "x"})), want: "email must be one e-mail address", path: "payload.from.email"},
		{name: "email 11 categories", doc: payEmail(set("categories", repeat(11, "c"))), want: "at most 10 elements", path: "payload.categories"},
		{name: "email cc", doc: payEmail(set("cc", bson.A{"a@b.de", "x"})), want: "an address in cc must be", path: "payload.cc"},
		{name: "email 1000 cc", doc: payEmail(set("cc", repeat(1000, "a@b.de"))), want: "together at most 1000", path: "payload.cc"},
		{name: "email 1001 recipients", doc: payEmail(set("cc", repeat(500, "a@b.de")), set("bcc", repeat(500, "a@b.de"))), want: "at most 1000 recipients", path: "payload.cc", query: true},
		{name: "email attachment", doc: payEmail(set("attachments", bson.A{doc{"filename": "a"}})), want: "Required: content, filename", path: "payload.attachments"},
		{name: "email disposition", doc: payEmail(set("attachments", bson.A{doc{"content": "YQ==", "filename": "a", "disposition": "x"}})), want: "disposition must be one of", path: "payload.attachments.disposition"},

		{name: "sms short code", doc: paySMS(set("from", "12345"))},
		{name: "sms name as sender", doc: paySMS(set("from", "My Shop 24"))},
		{name: "sms by service", doc: paySMS(unset("from"), set("messaging_service_sid", serviceSID), set("validity_seconds", int32(36000)))},
		{name: "sms media only", doc: paySMS(unset("body"), set("media_urls", repeat(10, "https://example.com/a.png")))},
		{name: "sms 1600", doc: paySMS(set("body", strings.Repeat("ß", 1600)), set("media_urls", bson.A{}))},
		{name: "sms national number", doc: paySMS(set("to", "015112345678")), want: "E.164", path: "payload.to"},
		{name: "sms number with spaces", doc: paySMS(set("to", "+49 151 12345678")), want: "E.164", path: "payload.to"},
		{name: "sms number with line feed", doc: paySMS(set("to", "+4915112345678\n")), want: "E.164", path: "payload.to"},
		{name: "sms no to", doc: paySMS(unset("to")), want: "Required: to", path: "payload"},
		{name: "sms sender", doc: paySMS(set("from", "My Shop in Berlin")), want: "alphanumeric sender", path: "payload.from"},
		{name: "sms no sender", doc: paySMS(unset("from")), want: "either from or messaging_service_sid", path: "payload"},
		{name: "sms two senders", doc: paySMS(set("messaging_service_sid", serviceSID)), want: "either from or messaging_service_sid", path: "payload"},
		{name: "sms service", doc: paySMS(unset("from"), set("messaging_service_sid", "MG1")), want: "MG and 32 hexadecimal digits", path: "payload.messaging_service_sid"},
		{name: "sms no content", doc: paySMS(unset("body")), want: "body, media_urls, or both", path: "payload"},
		{name: "sms empty media", doc: paySMS(unset("body"), set("media_urls", bson.A{})), want: "body, media_urls, or both", path: "payload"},
		{name: "sms 1601", doc: paySMS(set("body", strings.Repeat("x", 1601))), want: "1 to 1600 characters", path: "payload.body"},
		{name: "sms 11 media", doc: paySMS(set("media_urls", repeat(11, "https://example.com"))), want: "at most 10 elements", path: "payload.media_urls"},
		{name: "sms media", doc: paySMS(set("media_urls", bson.A{"ftp://example.com"})), want: "begins with https://", path: "payload.media_urls"},
		{name: "sms validity", doc: paySMS(set("validity_seconds", int32(36001))), want: "from 1 to 36000", path: "payload.validity_seconds"},
		{name: "sms unknown field", doc: paySMS(set("text", "x")), want: "The fields of the payload of kind sms are", path: "payload"},

		{name: "follow-up", doc: fu()},
		{name: "follow-ups three deep", doc: with(set("on_dead", bson.A{nested(3)}))},
		{name: "follow-up of a registered kind", doc: fu(set("kind", "fax"), set("payload", doc{"x": 1}))},
		{name: "follow-up of a mistyped kind", doc: fu(set("kind", "Fax"), set("payload", doc{"x": 1})), want: "one that is registered", path: "on_done.kind"},
		{name: "follow-up's follow-up of a mistyped kind", doc: fu(set("on_dead", bson.A{doc{"kind": "sns", "payload": doc{}}})), want: "one that is registered", path: "on_done.on_dead.kind"},
		{name: "follow-up payload is a reference", doc: fu(set("payload", "${payload.next}"))},
		{name: "follow-up email", doc: fu(set("kind", "email"), set("payload", doc{"from": "${metadata.from}", "to": doc{"email": "${payload.email}", "name": "${payload.name}"}, "subject": "Order ${payload.order}", "text": "${payload.text}", "cc": "${payload.cc}", "template_id": "d-1", "template_data": "${payload.data}"}))},
		{name: "follow-up email by reference", doc: fu(set("kind", "email"), set("payload", "${payload.mail}"))},
		{name: "follow-up sms", doc: fu(set("kind", "sms"), set("payload", doc{"to": "${payload.phone}", "from": "+15550100", "body": strings.Repeat("x", 1600) + "${_id}", "validity_seconds": "${payload.validity}", "media_urls": "${payload.media}"}))},
		{name: "follow-up write_back", doc: fu(set("write_back", doc{"collection": "orders", "id": "${payload.order}", "done": doc{"a": "${result.id}"}}))},
		{name: "follow-up by reason", doc: with(set("on_dead", bson.A{changed(followUp(), []func(doc){set("when", bson.A{"ambiguous", "expired"})})}))},
		{name: "follow-up by an unknown reason", doc: with(set("on_dead", bson.A{changed(followUp(), []func(doc){set("when", bson.A{"bored"})})})), want: "at least one dead_reason", path: "on_dead.when"},
		{name: "follow-up by no reason", doc: with(set("on_dead", bson.A{changed(followUp(), []func(doc){set("when", bson.A{})})})), want: "at least one dead_reason", path: "on_dead.when"},
		{name: "follow-up by one reason as text", doc: with(set("on_dead", bson.A{changed(followUp(), []func(doc){set("when", "ambiguous")})})), want: "at least one dead_reason", path: "on_dead.when"},
		{name: "when of on_done", doc: fu(set("when", bson.A{"ambiguous"})), want: "only for follow-ups in on_dead", path: "on_done.when"},
		{name: "when of a nested on_done", doc: with(set("on_dead", bson.A{changed(followUp(), []func(doc){set("on_done", bson.A{changed(followUp(), []func(doc){set("when", bson.A{"expired"})})})})})),
			want: "only for follow-ups in on_dead", path: "on_dead.on_done.when"},
		{name: "write_back by doubt", doc: with(set("write_back", doc{"collection": "orders", "id": "o", "ambiguous": doc{"state": "checking"}, "dead": doc{"state": "failed"}}))},
		{name: "write_back by doubt with an operator", doc: with(set("write_back", doc{"collection": "orders", "id": "o", "ambiguous": doc{"$inc": doc{"a": 1}}})), want: "ordinary path", path: "write_back.ambiguous.$inc"},
		{name: "on_done not an array", doc: with(set("on_done", followUp())), want: "on_done and on_dead must be an array", path: "on_done"},
		{name: "17 follow-ups", doc: with(set("on_dead", repeat(17, followUp()))), want: "at most 16 elements", path: "on_dead"},
		{name: "follow-ups four deep", doc: with(set("on_done", bson.A{nested(4)})), want: "three levels deep", path: "on_done.on_dead.on_dead.on_dead"},
		{name: "follow-up without payload", doc: fu(unset("payload")), want: "Required: kind, payload", path: "on_done"},
		{name: "follow-up _id", doc: fu(set("_id", "x")), want: "_id of a follow-up is set by the worker", path: "on_done._id"},
		{name: "follow-up status", doc: fu(set("status", "pending")), want: "status of a follow-up is set by the worker", path: "on_done.status"},
		{name: "follow-up due_at", doc: fu(set("due_at", now)), want: "delay_seconds sets a later due_at", path: "on_done.due_at"},
		{name: "follow-up worker's field", doc: fu(set("attempts", int32(0))), want: "A follow-up is an intent without", path: "on_done"},
		{name: "follow-up delay", doc: fu(set("delay_seconds", int32(-1))), want: "delay_seconds must be an integer", path: "on_done.delay_seconds"},
		{name: "follow-up amount is text", doc: fu(set("payload", charge(set("amount", "1999")))), want: "minor unit", path: "on_done.payload.amount"},
		{name: "follow-up amount within text", doc: fu(set("payload", charge(set("amount", "${payload.amount} EUR")))), want: "minor unit", path: "on_done.payload.amount"},
		{name: "follow-up currency", doc: fu(set("payload", charge(set("currency", "EUR")))), want: "lower-case ISO 4217", path: "on_done.payload.currency"},
		{name: "follow-up ordering_key", doc: fu(set("ordering_key", "x")), want: "not supported by this release", path: "on_done.ordering_key"},
		{name: "follow-up on_ambiguous", doc: fu(set("on_ambiguous", "x")), want: "on_ambiguous must be one of", path: "on_done.on_ambiguous"},
		{name: "follow-up expires_at", doc: fu(set("expires_at", "tomorrow")), want: "expires_at must be a BSON Date", path: "on_done.expires_at"},
		{name: "follow-up body", doc: fu(set("kind", "sms"), set("payload", sms(set("body", strings.Repeat("x", 1601))))), want: "1 to 1600 characters", path: "on_done.payload.body"},
		{name: "deep follow-up", doc: with(set("on_done", bson.A{changed(followUp(), []func(doc){set("on_dead", bson.A{doc{"kind": "sms", "payload": doc{}}})})})), want: "Required: to", path: "on_done.on_dead.payload"},

		{name: "leased", update: true, doc: with(set("status", "leased"), set("attempts", int32(1)), set("first_attempt_at", now),
			set("lease", doc{"token": "t", "owner": "o", "at": now, "reclaimed": true}))},
		{name: "ambiguous", update: true, doc: with(set("first_attempt_at", now), set("ambiguous_at", now), set("generation", int32(1)), set("progress", doc{"payment_intent": "pi_1"}),
			set("last_error", doc{"class": "ambiguous", "code": "timeout", "message": "m", "provider": "stripe", "provider_code": int32(21610), "http_status": int32(500), "request_id": "r", "at": now}),
			set("history", bson.A{doc{"attempt": int32(1), "at": now, "ms": int64(12), "outcome": "ambiguous", "code": "timeout", "worker": "w"}}))},
		{name: "done", update: true, doc: with(unset("due_at"), set("status", "done"), set("done_at", now), set("purge_at", now), set("result", doc{"provider": "twilio", "id": "SM1"}))},
		{name: "dead", update: true, doc: with(unset("due_at"), set("status", "dead"), set("dead_at", now), set("dead_reason", "expired"))},
		{name: "cancelled", update: true, doc: with(unset("due_at"), set("status", "cancelled"), set("cancelled_at", now), set("purge_at", now))},
		{name: "worked on", update: true, doc: with(set("first_attempt_at", now), set("first_due_at", now), set("attempts", int32(2)), set("dropped", int32(3)),
			set("retried", doc{"by": "ann", "why": "card replaced", "at": now, "n": int32(2)}),
			set("resolved", doc{"by": "ann", "why": "asked the recipient", "verdict": "not_sent", "evidence": "log", "at": now}),
			set("history", bson.A{doc{"what": "attempt", "attempt": int32(1), "at": now, "provider_code": "card_declined", "http_status": int32(402), "request_id": "req_1", "ref": "pi_1", "worker": "w"},
				doc{"what": "attempt", "at": now, "ms": int64(12), "outcome": "ambiguous", "code": "no_answer", "worker": "w", "first": now, "last": now, "n": int32(2)},
				doc{"what": "lookup", "first": now, "last": now, "n": int32(4)}, doc{"what": "retry", "by": "ann", "why": "x", "job": "j"},
				doc{"what": "resolve", "by": "ann"}, doc{"what": "cancel_at_provider", "ref": "pi_1"}}))},
		{name: "outcome done", update: true, doc: with(set("first_attempt_at", now), set("outcome", doc{"event": "delivered", "class": "done", "attempts": int32(1),
			"receipt": doc{"provider": "twilio", "id": "SM1", "status": "queued"}, "at": now, "tries": int32(3), "why": "a lock"}))},
		{name: "outcome dead", update: true, doc: with(set("first_attempt_at", now), set("outcome", doc{"event": "failed", "reason": "permanent",
			"failure": doc{"class": "permanent", "code": "declined", "provider_code": "x", "http_status": int32(402)}}))},
		{name: "outcome of neither end", update: true, doc: with(set("first_attempt_at", now), set("outcome", doc{"event": "failed"})), want: "either a receipt or a reason", path: "outcome"},
		{name: "outcome of both ends", update: true, doc: with(set("first_attempt_at", now), set("outcome", doc{"event": "failed", "reason": "permanent", "receipt": doc{}})), want: "either a receipt or a reason", path: "outcome"},
		{name: "outcome of an unknown event", update: true, doc: with(set("first_attempt_at", now), set("outcome", doc{"event": "sent", "receipt": doc{}})), want: "event must be one of", path: "outcome.event"},
		{name: "outcome that nothing caused", update: true, doc: with(set("first_attempt_at", now), set("outcome", doc{"receipt": doc{}})), want: "Required: event", path: "outcome"},
		{name: "record of an unknown sort", update: true, doc: with(set("first_attempt_at", now), set("history", bson.A{doc{"what": "guess", "attempt": int32(1)}})), want: "what must be one of", path: "history.what"},
		{name: "attempt without its number", update: true, doc: with(set("first_attempt_at", now), set("history", bson.A{doc{"code": "timeout"}})), want: "An entry of history", path: "history"},
		{name: "verdict", update: true, doc: with(set("first_attempt_at", now), set("resolved", doc{"verdict": "maybe"})), want: "verdict must be one of", path: "resolved.verdict"},
		{name: "retried count", update: true, doc: with(set("first_attempt_at", now), set("retried", doc{"n": "2"})), want: "n must be an integer", path: "retried.n"},

		{name: "inserted attempts", update: true, doc: with(set("attempts", int32(3))), want: "the worker counts them", path: "attempts"},
		{name: "inserted attempts of a double", update: true, doc: with(set("attempts", float64(1))), want: "the worker counts them", path: "attempts"},
		{name: "inserted attempts 0", update: true, doc: with(set("attempts", int64(0)), set("first_due_at", now))},
		{name: "inserted lease", update: true, doc: with(set("status", "leased"), set("lease", doc{"token": "t"})), want: "which worker is sending it", path: "lease"},
		{name: "inserted progress", update: true, doc: with(set("progress", doc{"payment_intent": "pi_other"})), want: "belongs to this intent", path: "progress"},
		{name: "inserted empty progress", update: true, doc: with(set("progress", doc{})), want: "belongs to this intent", path: "progress"},
		{name: "inserted generation", update: true, doc: with(set("generation", int32(1))), want: "part of the provider's key", path: "generation"},
		{name: "inserted ambiguous_at", update: true, doc: with(set("ambiguous_at", now)), want: "may have had its effect", path: "ambiguous_at"},
		{name: "inserted outcome", update: true, doc: with(set("outcome", doc{"event": "delivered", "receipt": doc{}})), want: "never sent", path: "outcome"},
		{name: "inserted history", update: true, doc: with(set("history", bson.A{})), want: "attempts that were made", path: "history"},
		{name: "inserted dropped", update: true, doc: with(set("dropped", int32(0))), want: "history no longer holds", path: "dropped"},
		{name: "inserted result", update: true, doc: with(set("result", doc{})), want: "the provider's receipt", path: "result"},
		{name: "inserted last_error", update: true, doc: with(set("last_error", doc{"code": "timeout"})), want: "the last attempt met", path: "last_error"},
		{name: "inserted retried", update: true, doc: with(set("retried", doc{"at": now})), want: "only a retry by hand", path: "retried"},
		{name: "inserted resolved", update: true, doc: with(set("resolved", doc{"verdict": "sent"})), want: "a person's verdict", path: "resolved"},

		{name: "cancelled in doubt", update: true, doc: with(unset("due_at"), set("status", "cancelled"), set("first_attempt_at", now), set("ambiguous_at", now)), want: "`outboxd cancel`", path: "ambiguous_at"},
		{name: "cancelled under a lease", update: true, doc: with(unset("due_at"), set("status", "cancelled"), set("first_attempt_at", now), set("lease", doc{"token": "t"})), want: "`outboxd cancel`", path: "lease"},
		{name: "cancelled with an outcome", update: true, doc: with(unset("due_at"), set("status", "cancelled"), set("outcome", doc{"event": "delivered", "receipt": doc{}})), want: "`outboxd cancel`", path: "outcome"},
		{name: "cancelled after an attempt that surely failed", update: true, doc: with(unset("due_at"), set("status", "cancelled"), set("purge_at", now), set("first_attempt_at", now), set("attempts", int32(1)),
			set("last_error", doc{"class": "transient", "code": "unavailable"}), set("history", bson.A{doc{"attempt": int32(1)}}))},
		{name: "leased without due_at", update: true, doc: with(unset("due_at"), set("status", "leased")), want: "due_at is required while"},
		{name: "done with due_at", update: true, doc: with(set("status", "done")), want: "due_at must be unset"},
		{name: "pending with purge_at", update: true, doc: with(set("purge_at", now)), want: "purge_at is only for"},
		{name: "dead with purge_at", update: true, doc: with(unset("due_at"), set("status", "dead"), set("dead_at", now), set("dead_reason", "expired"), set("purge_at", now)), want: "purge_at is only for"},
		{name: "dead without reason", update: true, doc: with(unset("due_at"), set("status", "dead"), set("dead_at", now)), want: "status dead needs dead_at and dead_reason"},
		{name: "dead_reason", update: true, doc: with(unset("due_at"), set("status", "dead"), set("dead_at", now), set("dead_reason", "bored")), want: "dead_reason must be one of", path: "dead_reason"},
		{name: "lease", update: true, doc: with(set("lease", doc{"owner": "o"})), want: "lease must be a document", path: "lease"},
		{name: "last_error", update: true, doc: with(set("last_error", doc{"stack": "…"})), want: "The fields of last_error are", path: "last_error"},
		{name: "history", update: true, doc: with(set("history", bson.A{doc{"attempt": "1"}})), want: "attempt must be an integer", path: "history.attempt"},
		{name: "generation", update: true, doc: with(set("generation", int32(-1))), want: "generation must be an integer", path: "generation"},
		{name: "progress", update: true, doc: with(set("progress", "half")), want: "progress must be a document", path: "progress"},
		{name: "result", update: true, doc: with(set("result", "ok")), want: "result must be a document", path: "result"},
		{name: "dead_at", update: true, doc: with(set("dead_at", "x")), want: "dead_at must be a BSON Date", path: "dead_at"},
	}
}
