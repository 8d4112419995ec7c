package simulator

import "net/http"

// postEvents sends processed and delivered for each message to the event webhook, in one request, as SendGrid batches
// them; the custom arguments stand beside the event's own fields (SendGrid, "Event Webhook Reference").
func (p *sendgridAPI) postEvents(entries []*logEntry) {
	url := p.sim.cfg.EventWebhook
	if url == "" {
		return
	}
	var events []map[string]any
	for _, e := range entries {
		for _, name := range []string{"processed", "delivered"} {
			event := map[string]any{}
			for k, v := range e.args {
				event[k] = v
			}
			event["email"], event["timestamp"], event["event"] = e.to, e.at.Unix(), name
			event["sg_event_id"], event["sg_message_id"] = newID("", 22), e.id
			event["smtp-id"] = "<" + e.id + "@simulated>"
			if len(e.categories) > 0 {
				event["category"] = e.categories
			}
			events = append(events, event)
		}
	}
	p.sim.outgoing.post(0, message{
		url: url, contentType: "application/json", header: http.Header{"User-Agent": {"SendGrid Event API"}},
		body: jsonReply(http.StatusOK, events).body,
	})
}
