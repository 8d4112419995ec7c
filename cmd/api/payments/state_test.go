package payments

import (
	"strings"
	"testing"
	"time"

	"github.com/outboxd/outboxd/outbox"
)

// What a payment is, from what the worker and the webhooks wrote, in whatever order they did.
func TestStatus(t *testing.T) {
	receipt := func(status string) *Receipt { return &Receipt{"stripe", "pi_1", status} }
	end := func(state, id string) *Settlement {
		return &Settlement{State: state, ID: id, Code: endCodes[state], At: time.Now()}
	}
	failed := func(reason outbox.DeadReason, code string) *Failure { return &Failure{string(reason), code} }
	for _, c := range []struct {
		name    string
		p       Payment
		want    State
		says    string
		neverly string
	}{
		{"new", Payment{State: StatePending}, StatePending, "being processed", ""},
		{"paid", Payment{State: StatePaid, Receipt: receipt("succeeded")}, StatePaid, "received your payment of 19.99 EUR", ""},
		{"paid, by hand", Payment{State: StatePaid, Receipt: receipt("")}, StatePaid, "Thank you", ""},
		{"bank debit", Payment{State: StatePaid, Receipt: receipt("processing")}, StateProcessing, "a few days", "received"},
		{"bank debit arrived", Payment{State: StatePaid, Receipt: receipt("processing"), Settlement: end("succeeded", "pi_1")}, StatePaid, "Thank you", ""},
		{"bank debit returned", Payment{State: StatePaid, Receipt: receipt("processing"), Settlement: end("failed", "pi_1")}, StateFailed, "bank declined", "received"},
		{"bank debit cancelled", Payment{State: StatePaid, Receipt: receipt("processing"), Settlement: end("canceled", "pi_1")}, StateFailed, "cancelled", ""},
		{"an earlier one failed", Payment{State: StatePaid, Receipt: receipt("processing"), Settlement: end("failed", "pi_0")}, StateProcessing, "a few days", ""},
		{"a card that failed before", Payment{State: StatePaid, Receipt: receipt("succeeded"), Settlement: end("failed", "pi_1")}, StatePaid, "Thank you", ""},
		{"the event came first", Payment{State: StatePending, Settlement: end("succeeded", "pi_1")}, StatePaid, "Thank you", ""},
		{"a bad event came first", Payment{State: StatePending, Settlement: end("failed", "pi_1")}, StatePending, "being processed", "declined"},
		{"checking", Payment{State: StateChecking}, StateChecking, "We are checking", "not been charged"},
		{"checking, as it was written before", Payment{State: StateFailed, Failure: failed(outbox.ReasonAmbiguous, "no_answer")}, StateChecking, "do not pay again", "could not"},
		{"checking, and Stripe knows", Payment{State: StateChecking, Settlement: end("succeeded", "pi_1")}, StatePaid, "Thank you", ""},
		{"declined", Payment{State: StateFailed, Failure: failed(outbox.ReasonPermanent, outbox.CodeDeclined)}, StateFailed, "another card", ""},
		{"3-D Secure", Payment{State: StateFailed, Failure: failed(outbox.ReasonPermanent, outbox.CodeActionRequired)}, StateFailed, "confirm", ""},
		{"cancelled", Payment{State: StateFailed, Failure: failed(outbox.ReasonPermanent, outbox.CodeCanceled)}, StateFailed, "cancelled", ""},
		{"exhausted", Payment{State: StateFailed, Failure: failed(outbox.ReasonExhausted, outbox.CodeUnavailable)}, StateFailed, "could not reach", ""},
		{"invalid", Payment{State: StateFailed, Failure: failed(outbox.ReasonInvalid, outbox.CodeInvalid)}, StateFailed, "contact us", ""},
		{"failed without a word", Payment{State: StateFailed}, StateFailed, "contact us", ""},
		{"failed, and Stripe says it is paid", Payment{State: StateFailed, Failure: failed(outbox.ReasonExpired, ""), Settlement: end("succeeded", "pi_1")}, StatePaid, "Thank you", ""},
	} {
		c.p.Amount, c.p.Currency = 1999, "eur"
		v := c.p.View()
		if v.State != c.want || !strings.Contains(v.Msg, c.says) || c.neverly != "" && strings.Contains(v.Msg, c.neverly) {
			t.Errorf("%s: %s, %q", c.name, v.State, v.Msg)
		}
		if (v.Failure != nil) != (c.want == StateFailed && c.name != "failed without a word") || v.Receipt != nil && c.want != StatePaid && c.want != StateProcessing {
			t.Errorf("%s: the view is %+v", c.name, v)
		}
		if c.want == StateFailed && !strings.Contains(v.Msg, "not been charged") {
			t.Errorf("%s does not say that nothing was charged: %q", c.name, v.Msg)
		}
	}
}

func TestMessages(t *testing.T) {
	p := Payment{State: StatePaid, Email: "a@b", Phone: "+15", Delivery: map[Message]Delivery{
		ReceiptEmail:  {State: sent, Event: "bounce", Rank: rankFailed},
		FailureEmail:  {State: failed},
		CheckingEmail: {Event: "processed", Rank: rankTaken},
		ReversalEmail: {State: sent, Rank: rankDelivered},
	}}
	want := map[string]string{"receipt email": "failed", "receipt sms": "pending", "failure email": "failed", "checking email": "sent", "reversal email": "delivered"}
	got := p.messages()
	for _, m := range got {
		if want[m.About+" "+m.Channel] != m.State {
			t.Errorf("%+v", m)
		}
	}
	if len(got) != len(want) || len((&Payment{State: StatePending, Email: "a@b"}).messages()) != 0 {
		t.Errorf("the messages are %+v", got)
	}
}

func TestMessageOf(t *testing.T) {
	id := "pay_aaaaaaaaaaaaaaaaaaaaaaaaaa"
	for outboxID, want := range map[string]Message{
		"charge:" + id + ":done:0": ReceiptEmail, "charge:" + id + ":dead:0": FailureEmail, "charge:" + id + ":dead:1:2": CheckingEmail,
		"reversal:" + id + ":pi_1": ReversalEmail, "charge:" + id: "", "order-7:done:0": "", "charge:x:done:0": "", "": "", "charge:" + id + ":dead:7": "",
	} {
		if payment, m, ok := messageOf(outboxID, "email"); m != want || ok != (want != "") || ok && payment != id {
			t.Errorf("%s is the message %q of %q, %v", outboxID, m, payment, ok)
		}
	}
	if _, m, _ := messageOf("charge:"+id+":done:1", "sms"); m != ReceiptSMS {
		t.Errorf("a text is %q", m)
	}
}

func TestPrice(t *testing.T) {
	for want, c := range map[string]struct {
		amount   int64
		currency string
	}{"19.99 EUR": {1999, "eur"}, "0.05 EUR": {5, "eur"}, "1999 JPY": {1999, "jpy"}, "1.999 KWD": {1999, "kwd"}, "0.001 BHD": {1, "bhd"}} {
		if got := price(c.amount, c.currency); got != want {
			t.Errorf("%d %s is %q, want %q", c.amount, c.currency, got, want)
		}
	}
}
