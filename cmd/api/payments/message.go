package payments

import (
	"strings"
	"time"
)

// Message names one of the messages that a customer may get about a payment.
type Message string

// The messages. Each is a follow-up of the charge, but the last: that one follows Stripe's event.
const (
	ReceiptEmail  Message = "receipt_email"
	ReceiptSMS    Message = "receipt_sms"
	FailureEmail  Message = "failure_email"
	CheckingEmail Message = "checking_email"
	ReversalEmail Message = "reversal_email"
)

// Delivery is what became of a message.
type Delivery struct {
	State   string    `bson:"state,omitempty"` // what the outbox knows: sent, failed or unknown
	Event   string    `bson:"event,omitempty"` // what the provider reported last, in its own word
	EventAt time.Time `bson:"event_at,omitempty"`
	Rank    int       `bson:"rank,omitempty"` // of the event; a report of a lower one comes late and is not news
}

// Values of Delivery.State.
const (
	sent    = "sent"
	failed  = "failed"
	unknown = "unknown"
)

// MessageView is a message as the API shows it.
type MessageView struct {
	Channel string `json:"channel" enum:"email,sms"`
	About   string `json:"about" enum:"receipt,failure,checking,reversal"`
	State   string `json:"state" enum:"pending,sent,delivered,failed,unknown" doc:"sent: the provider has taken it. delivered and failed may follow where the provider's webhook is set up. unknown: it may have been sent."`
}

// messages lists what was written to the customer, or will be.
func (p *Payment) messages() []MessageView {
	expected := map[Message]bool{
		ReceiptEmail: p.State == StatePaid && p.Email != "",
		ReceiptSMS:   p.State == StatePaid && p.Phone != "",
	}
	var list []MessageView
	for _, m := range []Message{ReceiptEmail, ReceiptSMS, FailureEmail, CheckingEmail, ReversalEmail} {
		d, there := p.Delivery[m]
		if !there && !expected[m] {
			continue
		}
		about, channel, _ := strings.Cut(string(m), "_")
		list = append(list, MessageView{Channel: channel, About: about, State: d.shown()})
	}
	return list
}

// shown is the state for the API. What the provider reports tells more than what the outbox knows.
func (d Delivery) shown() string {
	switch {
	case d.Rank == rankFailed:
		return "failed"
	case d.Rank == rankDelivered:
		return "delivered"
	case d.State == "" && d.Rank > 0:
		return "sent"
	case d.State == "":
		return "pending"
	default:
		return d.State
	}
}
