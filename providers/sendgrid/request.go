package sendgrid

import (
	"encoding/json"
	"fmt"

	"github.com/sendgrid/sendgrid-go/helpers/mail"

	"github.com/outboxd/outboxd/outbox"
	"github.com/outboxd/outboxd/providers"
)

// maxCustomArgs is the most that custom_args may take as JSON, in bytes (SendGrid, "Mail Send: limitations").
const maxCustomArgs = 10_000

// body is the request for one e-mail. It fails if the template's data holds what JSON cannot.
func body(in *outbox.Intent, e *outbox.Email) ([]byte, error) {
	m := mail.NewV3Mail()
	m.From = mailbox(e.From)
	m.Subject = e.Subject
	m.TemplateID = e.TemplateID
	m.Categories = e.Categories
	if e.ReplyTo != nil {
		m.ReplyTo = mailbox(*e.ReplyTo)
	}
	if e.Text != "" { // SendGrid wants text/plain before text/html
		m.AddContent(mail.NewContent("text/plain", e.Text))
	}
	if e.HTML != "" {
		m.AddContent(mail.NewContent("text/html", e.HTML))
	}
	for _, a := range e.Attachments {
		m.AddAttachment(&mail.Attachment{
			Content: a.Content, Type: a.Type, Filename: a.Filename, Disposition: a.Disposition, ContentID: a.ContentID,
		})
	}
	to := mail.NewPersonalization()
	to.AddTos(mailbox(e.To))
	for _, a := range e.CC {
		to.AddCCs(mailbox(a))
	}
	for _, a := range e.BCC {
		to.AddBCCs(mailbox(a))
	}
	// SendGrid's OpenAPI description knows them as an object only here, though its SDK writes one at the top as well.
	to.CustomArgs = customArgs(in)
	only := personalization{Personalization: to}
	if e.TemplateData != nil {
		data, err := outbox.JSON(e.TemplateData)
		if err != nil {
			return nil, fmt.Errorf("encode the template's data: %w", err)
		}
		only.TemplateData = data
	}
	// The SDK's own encoder logs an error and sends nothing in its place.
	data, err := json.Marshal(request{m, []personalization{only}})
	if err != nil {
		return nil, fmt.Errorf("encode the e-mail: %w", err)
	}
	return data, nil
}

// request and personalization are the SDK's, but for the template's data, whose order the SDK's map would lose.
type (
	request struct {
		*mail.SGMailV3
		Personalizations []personalization `json:"personalizations"`
	}
	personalization struct {
		*mail.Personalization
		TemplateData json.RawMessage `json:"dynamic_template_data,omitempty"`
	}
)

func mailbox(a outbox.Address) *mail.Email { return mail.NewEmail(a.Name, a.Email) }

// customArgs carries the labels and, as far as there is room, the intent's metadata.
func customArgs(in *outbox.Intent) map[string]string {
	room := maxCustomArgs - len("{}")
	return providers.Labels(in, func(name, value string) (string, bool) {
		need := jsonLen(name) + jsonLen(value) + len(`"":"",`)
		if name == "" || need > room {
			return "", false
		}
		room -= need
		return value, true
	}, in.Metadata)
}

// jsonLen is the length of a text inside JSON's quotes.
func jsonLen(s string) int {
	data, err := json.Marshal(s)
	if err != nil { // a string always has a JSON form
		return maxCustomArgs
	}
	return len(data) - len(`""`)
}
