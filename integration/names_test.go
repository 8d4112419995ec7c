package integration

import (
	"bytes"
	"maps"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/outboxd/outboxd/migrations"
	"github.com/outboxd/outboxd/outbox"
)

// The Go types name the fields that the schema has, each of them.
func TestFieldNamesAgree(t *testing.T) {
	t.Parallel()
	for path, v := range map[string]any{
		"payload.charge": outbox.Charge{}, "payload.email": outbox.Email{}, "payload.sms": outbox.SMS{},
		"payload.email.to": outbox.Address{}, "payload.email.attachments": outbox.Attachment{}, "trace": outbox.Trace{},
	} {
		var names []string
		for field := range reflect.TypeOf(v).Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("bson"), ",")
			names = append(names, name)
		}
		if want := migrations.Properties(path); !slices.Equal(slices.Sorted(slices.Values(names)), slices.Sorted(slices.Values(want))) {
			t.Errorf("%s: the type has %q, the schema %q", path, names, want)
		}
	}
}

// The parser knows every field of the schema, and no other in what a producer writes. In what workers write it passes
// over more, which a newer worker may have left.
func TestParserKnowsTheFields(t *testing.T) {
	t.Parallel()
	unknown := func(doc map[string]any, field string) bool {
		in := outbox.Parse(doc, outbox.Rules{})
		return slices.ContainsFunc(in.Problems, func(p outbox.Problem) bool {
			return strings.HasSuffix(p.Path, field) && strings.Contains(p.Text, "not a field of the contract")
		})
	}
	objects := map[string]func(object map[string]any) map[string]any{
		"":      func(o map[string]any) map[string]any { return o },
		"trace": func(o map[string]any) map[string]any { return map[string]any{"trace": o} },
		"lease": func(o map[string]any) map[string]any { return map[string]any{"lease": o} },
		"history": func(o map[string]any) map[string]any {
			return map[string]any{"history": []any{o}}
		},
		"write_back": func(o map[string]any) map[string]any { return map[string]any{"write_back": o} },
		"on_done": func(o map[string]any) map[string]any {
			field := "on_done"
			if _, ok := o["when"]; ok { // only deaths have reasons
				field = "on_dead"
			}
			maps.Copy(o, map[string]any{"kind": "fax", "payload": map[string]any{}})
			return map[string]any{field: []any{o}}
		},
		"payload.charge": func(o map[string]any) map[string]any { return map[string]any{"kind": "charge", "payload": o} },
		"payload.email":  func(o map[string]any) map[string]any { return map[string]any{"kind": "email", "payload": o} },
		"payload.sms":    func(o map[string]any) map[string]any { return map[string]any{"kind": "sms", "payload": o} },
	}
	for path, within := range objects {
		fields := migrations.Properties(path)
		if len(fields) == 0 {
			t.Errorf("the schema has no object %q", path)
		}
		for _, field := range fields {
			if unknown(within(map[string]any{field: nil}), field) {
				t.Errorf("%s.%s is in the schema, and the parser does not know it", path, field)
			}
		}
		if path != "lease" && path != "history" && !unknown(within(map[string]any{"no_such_field": nil}), "no_such_field") {
			t.Errorf("the parser takes any field in %q", path)
		}
	}
}

// `outboxd schema` prints what the validator is made of.
func TestSchemaCommandAgrees(t *testing.T) {
	t.Parallel()
	outboxd := program(t, "outboxd")
	for _, kind := range []string{"", "charge", "email", "sms"} {
		args := []string{"schema"}
		if kind != "" {
			args = append(args, "--kind", kind)
		}
		got, err := exec.CommandContext(t.Context(), outboxd, args...).Output()
		if err != nil {
			t.Fatalf("outboxd %q: %v", args, err)
		}
		want, err := migrations.JSONSchema(migrations.SchemaOptions{Kind: kind})
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(bytes.TrimSpace(got), bytes.TrimSpace(want)) {
			t.Errorf("outboxd %q prints another schema than the migrations hold", args)
		}
	}
}
