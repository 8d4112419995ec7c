package outbox

import (
	"maps"
	"slices"
	"strings"
)

// Charge is the payload of kind "charge": one payment of a customer by a stored payment method.
type Charge struct {
	Amount                    int64             `bson:"amount"`   // in the currency's minor unit, at least 1
	Currency                  string            `bson:"currency"` // ISO 4217, lower case
	Customer                  string            `bson:"customer"`
	PaymentMethod             string            `bson:"payment_method"`
	Description               string            `bson:"description,omitempty"`
	StatementDescriptorSuffix string            `bson:"statement_descriptor_suffix,omitempty"`
	ReceiptEmail              string            `bson:"receipt_email,omitempty"`
	Metadata                  map[string]string `bson:"metadata,omitempty"`
	Account                   string            `bson:"account,omitempty"` // Connect account
}

// Email is the payload of kind "email": one message to one recipient, with copies.
type Email struct {
	From         Address      `bson:"from"`
	To           Address      `bson:"to"`
	Subject      string       `bson:"subject,omitempty"`
	Text         string       `bson:"text,omitempty"`
	HTML         string       `bson:"html,omitempty"`
	TemplateID   string       `bson:"template_id,omitempty"`
	TemplateData any          `bson:"template_data,omitempty"` // a document: [Fields] or a map
	ReplyTo      *Address     `bson:"reply_to,omitempty"`
	CC           []Address    `bson:"cc,omitempty"`
	BCC          []Address    `bson:"bcc,omitempty"`
	Categories   []string     `bson:"categories,omitempty"`
	Attachments  []Attachment `bson:"attachments,omitempty"`
}

// Address is a mailbox. In a document it may also be a string, the address alone.
type Address struct {
	Email string `bson:"email"`
	Name  string `bson:"name,omitempty"`
}

// Attachment is a file that goes with an e-mail.
type Attachment struct {
	Content     string `bson:"content"` // base64
	Filename    string `bson:"filename"`
	Type        string `bson:"type,omitempty"`        // media type
	Disposition string `bson:"disposition,omitempty"` // "attachment" or "inline"
	ContentID   string `bson:"content_id,omitempty"`  // for inline images
}

// SMS is the payload of kind "sms": one message to one number.
type SMS struct {
	To                  string   `bson:"to"`             // E.164
	From                string   `bson:"from,omitempty"` // E.164, short code or alphanumeric sender; or MessagingServiceSID
	MessagingServiceSID string   `bson:"messaging_service_sid,omitempty"`
	Body                string   `bson:"body,omitempty"`
	MediaURLs           []string `bson:"media_urls,omitempty"`
	ValiditySeconds     int      `bson:"validity_seconds,omitempty"` // 1 to 36000; 0: the provider's default
}

// Limits that the providers publish. Sources: Stripe API reference, "PaymentIntents" and "Metadata"; SendGrid, "Mail
// Send: limitations"; Twilio, "Message resource".
const (
	maxDescriptor      = 22
	maxMetadataKeys    = 47 // the labels of the intent are the rest of Stripe's 50
	maxMetadataKey     = 40
	maxMetadataValue   = 500
	maxCategories      = 10
	maxRecipients      = 1000
	maxBody            = 1600
	maxMedia           = 10
	maxValiditySeconds = 36000
)

// parsePayload reads the payload of a kind; of a kind it does not know it returns the document as it is.
func parsePayload(kind string, r *reader) any {
	r.mapped()
	switch kind {
	case KindCharge:
		return parseCharge(r)
	case KindEmail:
		return parseEmail(r)
	case KindSMS:
		return parseSMS(r)
	default:
		for _, field := range slices.Sorted(maps.Keys(r.doc)) {
			r.supported(field, r.doc[field])
		}
		return r.doc
	}
}

func parseCharge(r *reader) *Charge {
	currency := r.pattern("currency", required, isCurrency, "three lower-case letters of ISO 4217, such as \"eur\"")
	c := &Charge{
		Amount:                    r.amount(currency),
		Currency:                  currency,
		Customer:                  r.text("customer", required, 0),
		PaymentMethod:             r.text("payment_method", required, 0),
		Description:               r.text("description", optional, 0),
		StatementDescriptorSuffix: r.text("statement_descriptor_suffix", optional, maxDescriptor),
		ReceiptEmail:              r.pattern("receipt_email", optional, isEmail, "an e-mail address"),
		Metadata:                  r.texts("metadata", maxMetadataKeys, maxMetadataKey, maxMetadataValue),
		Account:                   r.text("account", optional, 0),
	}
	r.reserved("metadata")
	r.rest()
	return c
}

func parseEmail(r *reader) *Email {
	e := &Email{
		From:         r.address("from", required),
		To:           r.address("to", required),
		Subject:      r.text("subject", optional, 0),
		Text:         r.text("text", optional, 0),
		HTML:         r.text("html", optional, 0),
		TemplateID:   r.text("template_id", optional, 0),
		TemplateData: r.template("template_data"),
		CC:           r.addresses("cc"),
		BCC:          r.addresses("bcc"),
		Categories:   r.strings("categories", maxCategories, isText, "a string that is not empty"),
	}
	if r.has("reply_to") {
		to := r.address("reply_to", optional)
		e.ReplyTo = &to
	}
	if 1+len(e.CC)+len(e.BCC) > maxRecipients {
		r.problem("to", "has more than 1000 recipients together with cc and bcc")
	}
	for _, a := range r.list("attachments", 0) {
		e.Attachments = append(e.Attachments, Attachment{
			Content:     a.text("content", required, 0),
			Filename:    a.text("filename", required, 0),
			Type:        a.text("type", optional, 0),
			Disposition: a.pattern("disposition", optional, isDisposition, "\"attachment\" or \"inline\""),
			ContentID:   a.text("content_id", optional, 0),
		})
		a.rest()
	}
	switch {
	case r.has("template_id"):
	case !r.has("subject"):
		r.problem("subject", "is required unless there is a template_id")
	case !r.has("text") && !r.has("html"):
		r.problem("text", "or html is required unless there is a template_id")
	}
	if r.has("template_data") && !r.has("template_id") {
		r.problem("template_data", "needs a template_id")
	}
	r.rest()
	return e
}

func parseSMS(r *reader) *SMS {
	s := &SMS{
		To:                  r.pattern("to", required, isE164, "an E.164 number, such as \"+4915112345678\""),
		From:                r.pattern("from", optional, isSender, "an E.164 number, a short code of 3 to 8 digits, or an alphanumeric sender of 1 to 11 characters with a letter among them"),
		MessagingServiceSID: r.pattern("messaging_service_sid", optional, isServiceSID, "MG and 32 hexadecimal digits"),
		Body:                r.text("body", optional, maxBody),
		MediaURLs:           r.strings("media_urls", maxMedia, isURL, "a URL that begins with https:// or http://"),
		ValiditySeconds:     int(r.integer("validity_seconds", optional, 1, maxValiditySeconds)),
	}
	if r.has("from") == r.has("messaging_service_sid") {
		r.problem("from", "or messaging_service_sid is required, and only one of them")
	}
	media, isArray := r.doc["media_urls"].([]any)
	if !r.has("body") && (!r.has("media_urls") || isArray && len(media) == 0) {
		r.problem("body", "or media_urls is required")
	}
	r.rest()
	return s
}

const (
	digits    = "0123456789"
	lowercase = "abcdefghijklmnopqrstuvwxyz"
	letters   = lowercase + "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

// only reports whether s has no other characters than those of the set.
func only(s, set string) bool { return strings.Trim(s, set) == "" }

func isText(s string) bool { return s != "" }

func isCurrency(s string) bool { return len(s) == 3 && only(s, lowercase) }

func isE164(s string) bool {
	return len(s) >= 3 && len(s) <= 16 && s[0] == '+' && s[1] >= '1' && s[1] <= '9' && only(s[1:], digits)
}

// isSender accepts what Twilio's "Message resource" and "Alphanumeric Sender ID" name as a sender.
func isSender(s string) bool {
	shortCode := len(s) >= 3 && len(s) <= 8 && only(s, digits)
	alphanumeric := len(s) >= 1 && len(s) <= 11 && only(s, letters+digits+" +_&-") && strings.ContainsAny(s, letters)
	return isE164(s) || shortCode || alphanumeric
}

func isServiceSID(s string) bool {
	return len(s) == 34 && strings.HasPrefix(s, "MG") && only(s[2:], digits+"abcdefABCDEF")
}

func isURL(s string) bool {
	rest, ok := strings.CutPrefix(s, "https://")
	if !ok {
		rest, ok = strings.CutPrefix(s, "http://")
	}
	return ok && rest != "" && !strings.ContainsAny(rest, " \t\r\n\f\v")
}

func isDisposition(s string) bool { return s == "attachment" || s == "inline" }
