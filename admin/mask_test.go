package admin_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/outboxd/outboxd/admin"
	"github.com/outboxd/outboxd/outbox"
)

func TestMask(t *testing.T) {
	for text, want := range map[string]string{
		"+4915112345066": "+49•••••066", "claire@example.com": "c•••@e•••.com", "code 4711": "••• (9 characters)", "": "",
		"a@b": "••• (3 characters)", "ä@ö.de": "ä•••@ö•••.de",
	} {
		if got := admin.MaskText(text); got != want {
			t.Errorf("MaskText(%q) = %q, want %q", text, got, want)
		}
	}
	payload := map[string]any{
		"to": map[string]any{"email": "claire@example.com", "name": "Claire"}, "amount": int64(4200), "currency": "eur", "otp": int64(4711),
		"metadata":      map[string]any{"amount": "secret words", "currency": "secret words"},
		"template_data": outbox.Fields{{Name: "amount", Value: "secret words"}, {Name: "n", Value: int64(4711)}},
		"cc":            []any{"claire@example.com"}, "id": outbox.NewStringID("secret words"),
	}
	masked := admin.Mask(payload).(map[string]any)
	text := fmt.Sprint(masked)
	for _, secret := range []string{"claire", "Claire", "example", "secret", "4711"} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is shown: %s", secret, text)
		}
	}
	if masked["amount"] != int64(4200) || masked["currency"] != "eur" {
		t.Errorf("amounts are masked: %s", text)
	}
	if payload["to"].(map[string]any)["name"] != "Claire" {
		t.Error("the payload itself was changed")
	}
}
