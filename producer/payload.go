package producer

// The kinds of effects that outboxd has providers for.
const (
	KindCharge = "charge"
	KindEmail  = "email"
	KindSMS    = "sms"
)

// Charge is a payment through Stripe, by a payment method that the customer has stored.
type Charge struct {
	Amount                    int64             `bson:"amount"`   // in the currency's minor unit: 1999 for 19.99 EUR
	Currency                  string            `bson:"currency"` // ISO 4217, lower case
	Customer                  string            `bson:"customer"` // cus_…
	PaymentMethod             string            `bson:"payment_method"`
	Description               string            `bson:"description,omitempty"`
	StatementDescriptorSuffix string            `bson:"statement_descriptor_suffix,omitempty"`
	ReceiptEmail              string            `bson:"receipt_email,omitempty"`
	Metadata                  map[string]string `bson:"metadata,omitempty"`
	Account                   string            `bson:"account,omitempty"` // of Stripe Connect
}

// Intent returns the intent to make the charge.
func (c Charge) Intent(opts ...Option) *Intent { return Of(KindCharge, c, opts...) }

// Email is one message through SendGrid: a subject with a text, HTML or both, or a template.
type Email struct {
	From         Address      `bson:"from"`
	To           Address      `bson:"to"`
	Subject      string       `bson:"subject,omitempty"`
	Text         string       `bson:"text,omitempty"`
	HTML         string       `bson:"html,omitempty"`
	TemplateID   string       `bson:"template_id,omitempty"`
	TemplateData any          `bson:"template_data,omitempty"` // a document: bson.D, a map or a struct
	ReplyTo      *Address     `bson:"reply_to,omitempty"`
	CC           []Address    `bson:"cc,omitempty"`
	BCC          []Address    `bson:"bcc,omitempty"`
	Categories   []string     `bson:"categories,omitempty"`
	Attachments  []Attachment `bson:"attachments,omitempty"`
}

// Intent returns the intent to send the message.
func (e Email) Intent(opts ...Option) *Intent { return Of(KindEmail, e, opts...) }

// Address is a mailbox, with a display name or without.
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
	ContentID   string `bson:"content_id,omitempty"`  // of an inline image
}

// SMS is one message through Twilio, from a number or a messaging service.
type SMS struct {
	To                  string   `bson:"to"`             // E.164: +4915112345678
	From                string   `bson:"from,omitempty"` // this, or MessagingServiceSID
	MessagingServiceSID string   `bson:"messaging_service_sid,omitempty"`
	Body                string   `bson:"body,omitempty"`
	MediaURLs           []string `bson:"media_urls,omitempty"`
	ValiditySeconds     int      `bson:"validity_seconds,omitempty"`
}

// Intent returns the intent to send the message.
func (s SMS) Intent(opts ...Option) *Intent { return Of(KindSMS, s, opts...) }
