package main

import (
	"strings"
	"testing"
)

func TestSchemaFormats(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args     []string
		code     int
		has, not string
	}{
		{[]string{"schema"}, exitDone, `"oneOf"`, "other_intent"},
		{[]string{"schema", "--allow-unknown-kinds"}, exitDone, `"other_intent"`, "other_follow_up_4"},
		{[]string{"schema", "--kind", "sms"}, exitDone, `"kind must be sms."`, `"charge_intent"`},
		{[]string{"schema", "--format", "bson"}, exitDone, `"$jsonSchema"`, `"$ref"`},
		{[]string{"schema", "--format", "typescript"}, exitDone, "export type Intent = ChargeIntent | EmailIntent | SmsIntent;", "OtherIntent"},
		{[]string{"schema", "--format", "typescript", "--allow-unknown-kinds"}, exitDone, "OtherIntent;", "undefined"},
		{[]string{"schema", "--format", "typescript", "--kind", "email"}, exitDone, "export type Intent = EmailIntent;", "ChargeIntent "},
		{[]string{"schema", "--kind", "fax"}, exitWrongUse, "charge, email, sms", ""},
		{[]string{"schema", "--format", "typescript", "--kind", "fax"}, exitWrongUse, "charge, email, sms", ""},
		{[]string{"schema", "--format", "bson", "--kind", "sms"}, exitWrongUse, "leave out --kind", ""},
		{[]string{"schema", "--format", "xml"}, exitWrongUse, "json", ""},
	} {
		r := outboxdOn(t, "", c.args...)
		if all := r.out + r.err; r.code != c.code || !strings.Contains(all, c.has) || c.not != "" && strings.Contains(all, c.not) {
			t.Errorf("outboxd %q: exit code %d, want %d with %q and without %q:\n%.1500s", c.args, r.code, c.code, c.has, c.not, all)
		}
	}
}
