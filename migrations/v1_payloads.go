package migrations

import "go.mongodb.org/mongo-driver/v2/bson"

// Limits of the providers that version 1 enforces. They are part of the frozen version.
const (
	v1MaxStripeMetadata = 47     // Stripe, "Metadata": 50 keys, three of which are the intent's labels
	v1MaxRecipients     = 1000   // SendGrid, "Mail Send: Limitations": to, cc and bcc together
	v1MaxCategories     = 10     // SendGrid, "Mail Send: Limitations"
	v1MaxBody           = 1600   // Twilio, "Messages resource": Body
	v1MaxMedia          = 10     // Twilio, "Messages resource": MediaUrl
	v1MaxValidity       = 36_000 // Twilio, "Messages resource": ValidityPeriod, seconds
)

const (
	v1E164 = `^\+[1-9][0-9]{1,14}` + eos
	// v1Mailbox asks for little: what an address may be is the provider's to say.
	v1Mailbox = `^[^ \t\r\n]+@[^ \t\r\n@]+` + eos
)

// v1Kind is a kind whose payload version 1 knows. A document of another kind may have any document as its payload.
type v1Kind struct {
	name    string
	payload func(vocabulary) rule
}

// v1Kinds returns the kinds in the order of their rules.
func v1Kinds() []v1Kind {
	return []v1Kind{{"charge", vocabulary.v1Charge}, {"email", vocabulary.v1Email}, {"sms", vocabulary.v1SMS}}
}

// v1Charge follows Stripe's "Create a PaymentIntent".
func (v vocabulary) v1Charge() rule {
	required := []string{"amount", "currency", "customer", "payment_method"}
	return v.producers(payloadTitle+"charge", "The payload of kind charge is a document for Stripe.", required, bson.D{
		{Key: "amount", Value: v.integer("amount", "the amount in the currency's minor unit, 1999 for 19.99 EUR.", 1, v1MostDigits)},
		{Key: "currency", Value: v.pattern("currency", "currency must be a lower-case ISO 4217 code of three letters, such as eur.", `^[a-z]{3}`+eos)},
		{Key: "customer", Value: v.text("customer", "customer must be a string, the id of the Stripe customer (cus_…).", 1, 0)},
		{Key: "payment_method", Value: v.text("payment_method", "payment_method must be a string, the id of the customer's Stripe payment method (pm_…).", 1, 0)},
		{Key: "description", Value: v.text("description", "description must be a string of at least one character.", 1, 0)},
		{Key: "statement_descriptor_suffix", Value: v.text("statement_descriptor_suffix", "statement_descriptor_suffix must be a string of 1 to 22 characters, Stripe's limit.", 1, 22)},
		{Key: "receipt_email", Value: v.pattern("receipt_email", "receipt_email must be one e-mail address, without a display name.", v1Mailbox)},
		{Key: "metadata", Value: v.v1StripeMetadata()},
		{Key: "account", Value: v.text("account", "account must be a string, the id of the Stripe Connect account (acct_…) on whose behalf the charge is made.", 1, 0)},
	}, v1MappedFields(), bson.E{Key: "allOf", Value: v.v1Amounts()})
}

func (v vocabulary) v1StripeMetadata() rule {
	return v.typed("payload.metadata",
		"payload.metadata must be a document of at most 47 strings with keys of 1 to 40 characters and values of at most 500, Stripe's limits; outbox_id, outbox_ns and outbox_key are the other three and reserved.",
		[]string{"object"},
		bson.E{Key: "maxProperties", Value: int32(v1MaxStripeMetadata)},
		bson.E{Key: "properties", Value: v1Reserved()},
		bson.E{Key: "patternProperties", Value: bson.D{{Key: `^[\s\S]{1,40}` + eos,
			Value: orNull(v.text("metadata value", "A metadata value must be a string of at most 500 characters; write numbers and dates as strings.", 0, 500))}}},
		bson.E{Key: "additionalProperties", Value: false})
}

// v1Reserved refuses the labels under which the provider knows an intent.
func v1Reserved() bson.D {
	var labels bson.D
	for _, l := range [][2]string{{"outbox_id", "the intent's _id"}, {"outbox_ns", "the outbox's namespace"}, {"outbox_key", "the type of the intent's _id and its generation"}} {
		labels = append(labels, bson.E{Key: l[0], Value: refused(l[0], l[0]+" is reserved: it carries "+l[1]+" to the provider. Choose another key.")})
	}
	return labels
}

// v1Address accepts an address as a string or with a display name.
func (v vocabulary) v1Address(title string) rule {
	return described(title, title+" must be one e-mail address, or a document {email, name} with an address in email.",
		append(rule{{Key: "bsonType", Value: bson.A{"string", "object"}}, v.matches(v1Mailbox)},
			objectBody([]string{"email"}, bson.D{
				{Key: "email", Value: v.pattern("email", "email must be one e-mail address, without a display name.", v1Mailbox)},
				{Key: "name", Value: orNull(v.text("name", "name must be a string of at least one character, the display name.", 1, 0))},
			})...)...)
}

// v1Email follows SendGrid's "Mail Send".
func (v vocabulary) v1Email() rule {
	return v.producers(payloadTitle+"email", "The payload of kind email is a document for SendGrid.", []string{"from", "to"}, bson.D{
		{Key: "from", Value: v.v1Address("from")},
		{Key: "to", Value: v.v1Address("to")},
		{Key: "subject", Value: v.text("subject", "subject must be a string of at least one character.", 1, 0)},
		{Key: "text", Value: v.text("text", "text must be a string of at least one character, the plain-text body.", 1, 0)},
		{Key: "html", Value: v.text("html", "html must be a string of at least one character, the HTML body.", 1, 0)},
		{Key: "template_id", Value: v.text("template_id", "template_id must be a string, the id of a SendGrid dynamic template (d-…).", 1, 0)},
		{Key: "template_data", Value: v.typed("template_data", "template_data must be a document, the values for the template. "+v1TemplateText, []string{"object"})},
		{Key: "reply_to", Value: v.v1Address("reply_to")},
		{Key: "cc", Value: v.array("cc", "each an address; to, cc and bcc together at most 1000, SendGrid's limit.", v1MaxRecipients-1, v.v1Address("an address in cc"))},
		{Key: "bcc", Value: v.array("bcc", "each an address; to, cc and bcc together at most 1000, SendGrid's limit.", v1MaxRecipients-1, v.v1Address("an address in bcc"))},
		{Key: "categories", Value: v.array("categories", "strings, SendGrid's limit.", v1MaxCategories,
			v.text("a category", "A category must be a string of at least one character.", 1, 0))},
		{Key: "attachments", Value: v.typed("attachments", "attachments must be an array of documents {content, filename, type, disposition, content_id}.",
			[]string{"array"}, bson.E{Key: "items", Value: v.v1Attachment()})},
	}, v1MappedFields(), bson.E{Key: "allOf", Value: bson.A{
		described("content of an email", "An email needs subject with text, html or both, or else template_id; template_data goes with template_id only.",
			bson.E{Key: "anyOf", Value: bson.A{
				requires("template_id"),
				requiresBut([]string{"subject", "text"}, "template_data"),
				requiresBut([]string{"subject", "html"}, "template_data"),
			}}),
	}})
}

func (v vocabulary) v1Attachment() rule {
	return v.producers("an attachment", "An attachment is a document.", []string{"content", "filename"}, bson.D{
		{Key: "content", Value: v.text("content", "content must be a string, the attachment in base64.", 1, 0)},
		{Key: "filename", Value: v.text("filename", "filename must be a string of at least one character.", 1, 0)},
		{Key: "type", Value: v.text("type", "type must be a string, the media type such as application/pdf.", 1, 0)},
		{Key: "disposition", Value: v.oneOf("disposition", "inline shows it within the message.", "attachment", "inline")},
		{Key: "content_id", Value: v.text("content_id", "content_id must be a string, by which the HTML body refers to an inline attachment.", 1, 0)},
	})
}

// v1SMS follows Twilio's "Messages resource".
func (v vocabulary) v1SMS() rule {
	return v.producers(payloadTitle+"sms", "The payload of kind sms is a document for Twilio.", []string{"to"}, bson.D{
		{Key: "to", Value: v.pattern("to", "to must be a phone number in E.164: a plus sign, country code and number, no spaces, such as +4915112345678.", v1E164)},
		{Key: "from", Value: v.v1Sender()},
		{Key: "messaging_service_sid", Value: v.pattern("messaging_service_sid", "messaging_service_sid must be MG and 32 hexadecimal digits, the SID of the Twilio messaging service.", `^MG[0-9a-fA-F]{32}`+eos)},
		{Key: "body", Value: v.text("body", "body must be a string of 1 to 1600 characters, Twilio's limit.", 1, v1MaxBody)},
		{Key: "media_urls", Value: v.array("media_urls", "URLs that Twilio can fetch.", v1MaxMedia,
			v.pattern("a media URL", "A media URL must be a string that begins with https:// or http://.", `^https?://[^\s]+`+eos))},
		{Key: "validity_seconds", Value: v.integer("validity_seconds", "how long Twilio may try to deliver the message.", 1, v1MaxValidity)},
	}, v1MappedFields(), bson.E{Key: "allOf", Value: bson.A{
		described("sender of an sms", "An sms needs either from or messaging_service_sid, not both.",
			bson.E{Key: "anyOf", Value: bson.A{
				requiresBut([]string{"from"}, "messaging_service_sid"),
				requiresBut([]string{"messaging_service_sid"}, "from"),
			}}),
		described("content of an sms", "An sms needs body, media_urls, or both.",
			bson.E{Key: "anyOf", Value: bson.A{
				requires("body"),
				requiresFilled("media_urls"),
			}}),
	}})
}

// v1Sender follows Twilio's "Alphanumeric Sender ID" and "Short codes".
func (v vocabulary) v1Sender() rule {
	kinds := bson.A{
		rule{{Key: "pattern", Value: v1E164}},
		rule{{Key: "pattern", Value: `^[0-9]{3,8}` + eos}},
		rule{{Key: "pattern", Value: `^[0-9 +_&-]*[A-Za-z][A-Za-z0-9 +_&-]*` + eos}, {Key: "maxLength", Value: int32(11)}},
	}
	if v.references {
		kinds = append(kinds, rule{{Key: "pattern", Value: anyReference}})
	}
	return described("from", "from must be a phone number in E.164, a short code of 3 to 8 digits, or an alphanumeric sender of 1 to 11 characters with a letter among them.",
		bson.E{Key: "bsonType", Value: "string"}, bson.E{Key: "anyOf", Value: kinds})
}

// requires and without say nothing about a value that is no document, so that a reference in its place stays
// allowed. A null is as good as an absent field.
func requires(fields ...string) rule {
	present := make(bson.D, len(fields))
	for i, f := range fields {
		present[i] = bson.E{Key: f, Value: rule{{Key: "not", Value: rule{{Key: "bsonType", Value: "null"}}}}}
	}
	return rule{{Key: "required", Value: names(fields)}, {Key: "properties", Value: present}}
}

// requiresFilled requires an array that is not empty.
func requiresFilled(field string) rule {
	r := requires(field)
	properties(r)[0].Value = rule{{Key: "not", Value: rule{{Key: "anyOf", Value: bson.A{
		rule{{Key: "bsonType", Value: "null"}}, rule{{Key: "bsonType", Value: "array"}, {Key: "maxItems", Value: int32(0)}}}}}}}
	return r
}

func without(fields ...string) bson.E { return bson.E{Key: "properties", Value: absent(fields)} }

func absent(fields []string) bson.D {
	none := make(bson.D, len(fields))
	for i, f := range fields {
		none[i] = bson.E{Key: f, Value: rule{{Key: "bsonType", Value: "null"}}}
	}
	return none
}

// requiresBut requires a field, and that others are absent.
func requiresBut(fields []string, others ...string) rule {
	r := requires(fields...)
	r[1].Value = append(properties(r), absent(others)...)
	return r
}

// v1PayloadRules returns one rule a kind: a document is of another kind, or its payload fits.
func (v vocabulary) v1PayloadRules() bson.A {
	var rules bson.A
	for _, k := range v1Kinds() {
		rules = append(rules, described("payload of kind "+k.name, "The payload of an intent of kind "+k.name+" must fit that kind.",
			bson.E{Key: "anyOf", Value: bson.A{
				rule{{Key: "properties", Value: bson.D{{Key: "kind", Value: rule{{Key: "not", Value: rule{{Key: "enum", Value: bson.A{k.name}}}}}}}}},
				rule{{Key: "properties", Value: bson.D{{Key: "payload", Value: k.payload(v)}}}},
			}}))
	}
	return rules
}
