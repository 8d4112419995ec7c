package simulator_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/outboxd/outboxd/providers/simulator"
)

// The simulated Twilio accepts a text, and counts it as an effect.
func ExampleStart() {
	sims, err := simulator.Start(simulator.Config{}, simulator.Addrs{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sims.Close()
	text := url.Values{"To": {"+4915112345678"}, "From": {"+15005550006"}, "Body": {"Your order is in."}}
	req, err := http.NewRequest(http.MethodPost, sims.TwilioURL+"/2010-04-01/Accounts/AC1/Messages.json", strings.NewReader(text.Encode()))
	if err != nil {
		fmt.Println(err)
		return
	}
	req.SetBasicAuth("AC1", "token")
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	fmt.Println(resp.StatusCode, "effects:", len(sims.Sim.Effects()))
	// Output: 201 effects: 1
}
