package migrations

import "go.mongodb.org/mongo-driver/v2/bson"

const v1Own = "written by the worker; a producer leaves it out."

// v1Worker returns the fields that only the worker writes.
func v1Worker() bson.D {
	date := func(name string) bson.E { return bson.E{Key: name, Value: strict.date(name, v1Own)} }
	text := func(name string) bson.E {
		return bson.E{Key: name, Value: strict.text(name, name+" must be a string, "+v1Own, 0, 0)}
	}
	count := func(name string, least int64) bson.E {
		return bson.E{Key: name, Value: strict.integer(name, v1Own, least, 1<<53)}
	}
	return bson.D{
		count("attempts", 0),
		{Key: "lease", Value: strict.object("lease", "lease must be a document, "+v1Own, []string{"token"}, bson.D{
			text("token"), text("owner"), date("at"),
			{Key: "reclaimed", Value: strict.typed("reclaimed", "reclaimed must be a boolean, "+v1Own, []string{"bool"})},
		})},
		date("first_attempt_at"),
		date("ambiguous_at"),
		count("generation", 0),
		{Key: "progress", Value: strict.typed("progress", "progress must be a document, "+v1Own, []string{"object"})},
		{Key: "last_error", Value: strict.object("last_error", "last_error must be a document, "+v1Own, nil, bson.D{
			text("class"), text("code"), text("message"), text("provider"), v1Code("provider_code"),
			count("http_status", 0), text("request_id"), date("at"),
		})},
		{Key: "history", Value: strict.typed("history", "history must be an array, "+v1Own, []string{"array"},
			bson.E{Key: "items", Value: strict.object("an entry of history", "An entry of history must be a document, "+v1Own, nil, bson.D{
				count("attempt", 0), date("at"), count("ms", 0), text("outcome"), text("code"), text("worker"),
			})})},
		{Key: "result", Value: strict.typed("result", "result must be a document, "+v1Own, []string{"object"})},
		date("done_at"),
		date("dead_at"),
		date("cancelled_at"),
		{Key: "dead_reason", Value: strict.oneOf("dead_reason", v1Own, "permanent", "exhausted", "expired", "ambiguous", "invalid")},
		date("purge_at"),
	}
}

// v1Code is a provider's own code: Stripe has words, Twilio numbers.
func v1Code(name string) bson.E {
	return bson.E{Key: name, Value: strict.typed(name, name+" must be a string or an integer, "+v1Own, []string{"string", "int", "long", "double"})}
}

// v1StatusRules say what a status demands of the other fields. Each is there because breaking it loses the intent.
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
	}
}
