package migrations

import "go.mongodb.org/mongo-driver/v2/bson"

const v1Own = "written by the worker; a producer leaves it out."

// v1DeadReasons are the reasons of a dead letter.
func v1DeadReasons() []string {
	return []string{"permanent", "exhausted", "expired", "ambiguous", "invalid"}
}

// v1MostCount is the most that a worker counts.
const v1MostCount = 1<<31 - 1

// v1Worker returns the fields that only the worker writes, and those that a person's commands write.
func v1Worker() bson.D {
	date := func(name string) bson.E { return bson.E{Key: name, Value: strict.date(name, v1Own)} }
	text := func(name string) bson.E {
		return bson.E{Key: name, Value: strict.text(name, name+" must be a string of at least one character, "+v1Own, 1, 0)}
	}
	count := func(name string) bson.E {
		return bson.E{Key: name, Value: strict.integer(name, v1Own, 0, v1MostCount)}
	}
	reason := func(name string) bson.E {
		return bson.E{Key: name, Value: strict.oneOf(name, v1Own, v1DeadReasons()...)}
	}
	object := func(title string, required []string, fields ...bson.E) rule {
		return strict.object(title, title+" must be a document, "+v1Own, required, fields)
	}
	return bson.D{
		count("attempts"),
		{Key: "lease", Value: object("lease", []string{"token"}, text("token"), text("owner"), date("at"),
			bson.E{Key: "reclaimed", Value: strict.typed("reclaimed", "reclaimed must be a boolean, "+v1Own, []string{"bool"})})},
		date("first_attempt_at"),
		date("first_due_at"),
		date("ambiguous_at"),
		count("generation"),
		{Key: "progress", Value: strict.typed("progress", "progress must be a document, "+v1Own, []string{"object"})},
		{Key: "outcome", Value: v1Outcome(text, reason, count, date)},
		{Key: "last_error", Value: object("last_error", nil,
			text("class"), text("code"), text("message"), text("provider"), v1Code("provider_code"), count("http_status"), text("request_id"), date("at"))},
		{Key: "history", Value: strict.typed("history", "history must be an array, "+v1Own, []string{"array"},
			bson.E{Key: "items", Value: v1Record(text, count, date)})},
		count("dropped"),
		{Key: "retried", Value: object("retried", nil, text("by"), text("why"), date("at"), count("n"))},
		{Key: "resolved", Value: object("resolved", nil, text("by"), text("why"),
			bson.E{Key: "verdict", Value: strict.oneOf("verdict", v1Own, "sent", "not_sent")}, text("evidence"), date("at"))},
		{Key: "result", Value: strict.typed("result", "result must be a document, "+v1Own, []string{"object"})},
		date("done_at"),
		date("dead_at"),
		date("cancelled_at"),
		reason("dead_reason"),
		date("purge_at"),
	}
}

// v1Record returns the rule for one entry of history.
func v1Record(text, count, date func(string) bson.E) rule {
	return strict.object("an entry of history", "An entry of history must be a document, "+v1Own, nil, bson.D{
		{Key: "what", Value: strict.oneOf("what", v1Own+" Without it the entry is an attempt.", "attempt", "lookup", "retry", "resolve", "cancel_at_provider", "discard")},
		count("attempt"), date("at"), count("ms"), text("outcome"), text("code"), text("provider_code"), count("http_status"),
		text("request_id"), text("ref"), text("worker"), text("by"), text("why"), text("job"), date("first"), date("last"), count("n"),
	}, bson.E{Key: "anyOf", Value: bson.A{ // an attempt that was given back has no number, and says what it is
		rule{{Key: "required", Value: bson.A{"attempt"}}},
		rule{{Key: "required", Value: bson.A{"what"}}},
	}})
}

// v1Outcome returns the rule for a recorded outcome, which only has to be written. The intent ends either done, with
// a receipt, or dead, with a reason.
func v1Outcome(text, reason, count, date func(string) bson.E) rule {
	return strict.object("outcome", "outcome must be a document with either a receipt or a reason, "+v1Own, []string{"event"}, bson.D{
		{Key: "event", Value: strict.oneOf("event", v1Own, "delivered", "failed", "found", "absent", "lookup_failed",
			"abandoned", "unsent", "lapsed", "malformed", "spent", "recorded")},
		reason("reason"), text("class"), count("attempts"),
		{Key: "receipt", Value: strict.object("receipt", "receipt must be a document, "+v1Own, nil, bson.D{text("provider"), text("id"), text("status")})},
		{Key: "failure", Value: strict.object("failure", "failure must be a document, "+v1Own, nil, bson.D{
			text("class"), text("code"), text("message"), text("provider"), text("provider_code"), count("http_status"), text("request_id")})},
		date("at"), count("tries"), text("why"),
	}, bson.E{Key: "anyOf", Value: bson.A{
		requiresBut([]string{"receipt"}, "reason"),
		requiresBut([]string{"reason"}, "receipt"),
	}})
}

// v1Code is a provider's own code: Stripe has words, Twilio numbers.
func v1Code(name string) bson.E {
	return bson.E{Key: name, Value: strict.typed(name, name+" must be a string or an integer, "+v1Own, []string{"string", "int", "long", "double"})}
}

// v1StatusRules say what a status demands of the other fields. Each is there because breaking it loses the intent, or
// makes an effect twice.
func v1StatusRules() bson.A {
	either := func(title, description string, others []string, need ...bson.E) rule {
		return described(title, description, bson.E{Key: "anyOf", Value: bson.A{
			rule{{Key: "properties", Value: bson.D{{Key: "status", Value: rule{{Key: "enum", Value: names(others)}}}}}},
			rule(need),
		}})
	}
	return bson.A{
		either("due_at by status", "due_at is required while status is pending or leased: write due_at: new Date() to run as soon as possible. Without it no worker ever sees the intent.",
			[]string{"done", "dead", "cancelled"}, bson.E{Key: "required", Value: bson.A{"due_at"}}),
		either("no due_at in a final status", "due_at must be unset where status is done, dead or cancelled: add $unset: {due_at: \"\"} to the update.",
			[]string{"pending", "leased"}, without("due_at")),
		either("dead needs its instant and reason", "status dead needs dead_at and dead_reason, without which the dead letter is not listed.",
			[]string{"pending", "leased", "done", "cancelled"}, bson.E{Key: "required", Value: bson.A{"dead_at", "dead_reason"}}),
		either("purge_at by status", "purge_at is only for status done or cancelled: the database deletes the document at that instant, and what is waiting or dead is never deleted by itself.",
			[]string{"done", "cancelled"}, without("purge_at")),
		v1Cancelled(),
		v1NeverClaimed(),
	}
}

// v1Cancelled refuses to cancel an intent that may have had its effect. What acted and is called cancelled would be
// sold as not sent.
func v1Cancelled() rule {
	const remedy = " `outboxd cancel` cancels what surely was not sent, and says why it refuses the rest."
	return described("cancelled", "An intent that may have been sent cannot be cancelled."+remedy, bson.E{Key: "anyOf", Value: bson.A{
		rule{{Key: "properties", Value: bson.D{{Key: "status", Value: rule{{Key: "enum", Value: bson.A{"pending", "leased", "done", "dead"}}}}}}},
		rule{{Key: "properties", Value: bson.D{
			{Key: "ambiguous_at", Value: refused("ambiguous_at", "An intent with ambiguous_at cannot be cancelled: nobody knows whether the provider acted."+remedy)},
			{Key: "lease", Value: refused("lease", "An intent with a lease cannot be cancelled: a worker may be sending it."+remedy)},
			{Key: "outcome", Value: refused("outcome", "An intent with an outcome cannot be cancelled: what became of it is known and only has to be written."+remedy)},
		}}},
	}})
}

// v1NeverClaimed refuses fields of the worker in an intent that no worker has claimed, which is what a producer
// inserts. A worker believes them: a forged progress would take another intent's payment for this one's.
func v1NeverClaimed() rule {
	var none bson.D
	for _, f := range [][2]string{
		{"lease", "it says which worker is sending it"},
		{"progress", "it names the provider's object that belongs to this intent"},
		{"generation", "it is part of the provider's key, and only a retry by hand raises it"},
		{"ambiguous_at", "it says that an attempt may have had its effect"},
		{"outcome", "an intent with an outcome is never sent"},
		{"history", "it tells the attempts that were made"},
		{"dropped", "it counts what history no longer holds"},
		{"result", "it is the provider's receipt"},
		{"last_error", "it says what the last attempt met"},
		{"retried", "only a retry by hand writes it"},
		{"resolved", "only a person's verdict on an ambiguous outcome writes it"},
	} {
		none = append(none, bson.E{Key: f[0], Value: refused(f[0], f[0]+" must be left out of an intent that no worker has claimed yet: "+f[1]+".")})
	}
	none = append(none, bson.E{Key: "attempts", Value: described("attempts", "attempts must be left out, or 0, in an intent that no worker has claimed yet: the worker counts them.",
		bson.E{Key: "maximum", Value: int32(0)})})
	return described("never claimed", "An intent without first_attempt_at was never claimed, so it has no field of the worker.", bson.E{Key: "anyOf", Value: bson.A{
		rule{{Key: "required", Value: bson.A{"first_attempt_at"}}},
		rule{{Key: "properties", Value: bson.D{{Key: "status", Value: rule{{Key: "enum", Value: bson.A{"done", "dead", "cancelled"}}}}}}},
		rule{{Key: "properties", Value: none}},
	}})
}
