package producer_test

import (
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/producer"
)

// An intent is a plain document. Insert writes it in your transaction.
func ExampleSMS_Intent() {
	code := producer.SMS{To: "+4915112345678", From: "+15005550006", Body: "Your code is 4711"}
	in := code.Intent(
		producer.DedupKey("code:ada:7"),
		producer.At(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)),
		producer.ExpiresAt(time.Date(2026, 3, 1, 12, 5, 0, 0, time.UTC)),
	)
	text, err := bson.MarshalExtJSONIndent(in, false, false, "", "  ")
	fmt.Println(string(text), err)
	// Output:
	// {
	//   "kind": "sms",
	//   "status": "pending",
	//   "due_at": {
	//     "$date": "2026-03-01T12:00:00Z"
	//   },
	//   "payload": {
	//     "to": "+4915112345678",
	//     "from": "+15005550006",
	//     "body": "Your code is 4711"
	//   },
	//   "expires_at": {
	//     "$date": "2026-03-01T12:05:00Z"
	//   },
	//   "dedup_key": "code:ada:7"
	// } <nil>
}

// A receipt follows when the charge is done.
func ExampleOnDone() {
	receipt := producer.SMS{To: "+4915112345678", From: "+15005550006", Body: "Paid: ${result.id}"}
	charge := producer.Charge{Amount: 4200, Currency: "eur", Customer: "cus_1", PaymentMethod: "pm_card_visa"}
	in := charge.Intent(producer.At(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)), producer.OnDone(receipt.Intent()))
	text, err := bson.MarshalExtJSONIndent(in, false, false, "", "  ")
	fmt.Println(string(text), err)
	// Output:
	// {
	//   "kind": "charge",
	//   "status": "pending",
	//   "due_at": {
	//     "$date": "2026-03-01T12:00:00Z"
	//   },
	//   "payload": {
	//     "amount": 4200,
	//     "currency": "eur",
	//     "customer": "cus_1",
	//     "payment_method": "pm_card_visa"
	//   },
	//   "on_done": [
	//     {
	//       "kind": "sms",
	//       "payload": {
	//         "to": "+4915112345678",
	//         "from": "+15005550006",
	//         "body": "Paid: ${result.id}"
	//       }
	//     }
	//   ]
	// } <nil>
}
