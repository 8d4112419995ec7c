package payments

import "time"

// View is a payment as the API shows it: without the customer's data.
type View struct {
	ID          string        `json:"id" pattern:"^pay_[a-z2-7]{26}$" doc:"Cannot be guessed: whoever knows it may see the payment."`
	State       State         `json:"state" enum:"pending,processing,paid,failed,checking" doc:"pending, processing and checking are on their way to paid or failed. checking: nobody knows yet whether the customer was charged; never tell them that it failed."`
	Msg         string        `json:"msg" doc:"For the customer: where the payment stands, and what to do."`
	Amount      int64         `json:"amount" doc:"In the currency's minor unit."`
	Currency    string        `json:"currency"`
	Description string        `json:"description,omitempty"`
	CreatedAt   time.Time     `json:"created_at"`
	Receipt     *Receipt      `json:"receipt,omitempty" doc:"Of a paid payment: under which id the provider knows it."`
	Failure     *Failure      `json:"failure,omitempty" doc:"Of a failed payment: why. reason and code are those of docs/codes.md."`
	Messages    []MessageView `json:"messages,omitempty" doc:"What was written to the customer, and what became of it."`
}

// View returns what the API shows.
func (p *Payment) View() View {
	v := View{
		ID: p.ID, State: p.Status(), Msg: p.words(), Amount: p.Amount, Currency: p.Currency, Description: p.Description,
		CreatedAt: p.CreatedAt, Failure: p.failure(), Messages: p.messages(),
	}
	if v.State == StatePaid || v.State == StateProcessing {
		v.Receipt = p.Receipt
	}
	return v
}
