package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/outboxd/outboxd/admin/auth"
)

// The secret is printed once and stands in no file; the file holds what the admin process reads.
func TestAdminTokenNew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	admin := func(args ...string) (code int, out, errOut string) {
		var stdout, stderr bytes.Buffer
		code = run(t.Context(), append([]string{"admin", "token", "new"}, args...), nil, strings.NewReader(""), &stdout, &stderr)
		return code, stdout.String(), stderr.String()
	}
	code, secret, errOut := admin("ci", "--role=read", "--file="+path)
	if code != exitDone || strings.Count(secret, "\n") != 1 || !strings.HasPrefix(secret, "outboxd_ci_") {
		t.Fatalf("exit code %d: %s%s", code, secret, errOut)
	}
	if err := os.Truncate(path, size(t, path)-1); err != nil { // as an editor may leave it
		t.Fatal(err)
	}
	if code, _, errOut := admin("ada", "--role=operate", "--file="+path); code != exitDone {
		t.Fatalf("a second token: exit code %d: %s", code, errOut)
	}
	tokens, err := auth.LoadTokens(path)
	if err != nil {
		t.Fatal(err)
	}
	if names := tokens.Names(); len(names) != 2 || names["ci"] != "read" || names["ada"] != "operate" {
		t.Errorf("the file has %v", names)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(data, []byte(strings.TrimSpace(secret))) {
		t.Error("the file holds the secret")
	}
	if code, _, errOut := admin("ci", "--role=read", "--file="+path); code != exitFailed || !strings.Contains(errOut, "already") {
		t.Errorf("the same name again: exit code %d: %s", code, errOut)
	}
	if code, out, _ := admin("bob", "--role=read"); code != exitDone || !strings.Contains(out, "\nbob read $argon2id$") {
		t.Errorf("without a file: exit code %d: %s", code, out)
	}
	if code, _, errOut := admin("a b", "--role=read"); code != exitWrongUse || !strings.Contains(errOut, "letters") {
		t.Errorf("a bad name: exit code %d: %s", code, errOut)
	}
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}
