package migrations_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/outboxd/outboxd/migrations"
)

// describes reports whether any description in the server's explanation holds the text.
func describes(v bson.RawValue, text string) bool {
	if s, ok := v.StringValueOK(); ok {
		return strings.Contains(s, text)
	}
	var elements []bson.RawElement
	if d, ok := v.DocumentOK(); ok {
		elements, _ = d.Elements()
	} else if a, ok := v.ArrayOK(); ok {
		elements, _ = bson.Raw(a).Elements()
	}
	for _, e := range elements {
		if _, isText := e.Value().StringValueOK(); isText && e.Key() != "description" {
			continue
		}
		if describes(e.Value(), text) {
			return true
		}
	}
	return false
}

func TestValidator(t *testing.T) {
	t.Parallel()
	outbox := migrated(t).Collection(migrations.DefaultCollection)
	for _, s := range samples() {
		t.Run(s.name, func(t *testing.T) {
			_, err := outbox.InsertOne(t.Context(), s.doc)
			if s.want == "" {
				if err != nil {
					t.Fatalf("refused: %v\n%q", err, migrations.Reasons(err))
				}
				return
			}
			we, ok := errors.AsType[mongo.WriteException](err)
			if !ok || len(we.WriteErrors) != 1 || we.WriteErrors[0].Code != 121 {
				t.Fatalf("got %v, want error 121", err)
			}
			if details := we.WriteErrors[0].Details; !describes(details.Lookup("details"), s.want) {
				t.Errorf("errInfo does not say %q: %s", s.want, details)
			}
			reasons := migrations.Reasons(err)
			for _, r := range reasons {
				if strings.Contains(r.Text, s.want) && r.Path == s.path {
					return
				}
			}
			t.Errorf("Reasons says %q, want %q at %q", reasons, s.want, s.path)
		})
	}
}

// TestValidatorAtUpdates shows level moderate: what is valid stays so, what never was may be settled.
func TestValidatorAtUpdates(t *testing.T) {
	t.Parallel()
	outbox := migrated(t).Collection(migrations.DefaultCollection)
	valid, invalid := intent("sms", sms()), intent("sms", doc{})
	valid["_id"], invalid["_id"] = "valid", "invalid"
	if _, err := outbox.InsertMany(t.Context(), []any{valid, invalid}, options.InsertMany().SetBypassDocumentValidation(true)); err != nil {
		t.Fatal(err)
	}
	attempt := bson.D{{Key: "$set", Value: bson.D{{Key: "priority", Value: 9}}}}
	if _, err := outbox.UpdateByID(t.Context(), "valid", attempt); len(migrations.Reasons(err)) != 1 {
		t.Errorf("update of a valid document: %v", err)
	}
	if _, err := outbox.UpdateByID(t.Context(), "invalid", attempt); err != nil {
		t.Errorf("update of an invalid document: %v", err)
	}
}

func TestReasonsOfEveryWrite(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	outbox := db.Collection(migrations.DefaultCollection)
	bad := func() doc { return intent("sms", sms(set("to", "0151"), set("txt", "secret body"))) }
	ctx := t.Context()
	writes := map[string]func() error{
		"insertOne":  func() error { _, err := outbox.InsertOne(ctx, bad()); return err },
		"insertMany": func() error { _, err := outbox.InsertMany(ctx, []any{intent("sms", sms()), bad()}); return err },
		"bulkWrite": func() error {
			_, err := outbox.BulkWrite(ctx, []mongo.WriteModel{mongo.NewInsertOneModel().SetDocument(bad())})
			return err
		},
		"findOneAndReplace": func() error {
			return outbox.FindOneAndReplace(ctx, bson.D{{Key: "_id", Value: "x"}}, bad(), options.FindOneAndReplace().SetUpsert(true)).Err()
		},
		"transaction": func() error {
			return db.Client().UseSession(ctx, func(ctx context.Context) error {
				_, err := mongo.SessionFromContext(ctx).WithTransaction(ctx, func(ctx context.Context) (any, error) {
					return outbox.InsertOne(ctx, bad())
				})
				return err
			})
		},
	}
	for name, write := range writes {
		t.Run(name, func(t *testing.T) {
			err := write()
			reasons := migrations.Reasons(err)
			var lines []string
			for _, r := range reasons {
				lines = append(lines, r.String())
			}
			got := strings.Join(lines, "\n")
			if len(reasons) != 2 || !strings.Contains(got, "payload.to: to must be a phone number in E.164") || !strings.Contains(got, "payload: unknown txt. The payload") {
				t.Errorf("reasons of %v:\n%s", err, got)
			}
			if strings.Contains(got, "0151") || strings.Contains(got, "secret") {
				t.Errorf("reasons hold values of the document:\n%s", got)
			}
		})
	}
	if r := migrations.Reasons(errors.New("other")); r != nil {
		t.Errorf("reasons of another error: %q", r)
	}
}
