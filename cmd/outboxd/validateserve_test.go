package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

// validator runs `outboxd validate --serve` and returns its address. end stops it, and returns its exit code.
func validator(t *testing.T, args ...string) (url string, end func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, append([]string{"validate", "--serve", "127.0.0.1:0"}, args...), nil, strings.NewReader(""), in, io.Discard)
		_ = in.Close()
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("it says no address: %v", err)
	}
	return strings.TrimSpace(line), func() int { cancel(); return <-code }
}

// postTo posts a text and returns the answer.
func postTo(t *testing.T, url, text string) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(body, []byte(phone)) {
		t.Errorf("the answer holds a phone number: %s", body)
	}
	var answer map[string]any
	if resp.StatusCode == http.StatusOK {
		if err := json.Unmarshal(body, &answer); err != nil {
			t.Fatalf("%s: %v", body, err)
		}
	}
	return resp.StatusCode, answer
}

func TestValidateServes(t *testing.T) {
	t.Parallel()
	url, end := validator(t)
	if status, answer := postTo(t, url, smsDocument("")+smsDocument("")); status != http.StatusOK || answer["valid"] != true || len(answer["documents"].([]any)) != 2 {
		t.Errorf("valid documents: %d %v", status, answer)
	}
	status, answer := postTo(t, url, smsDocument("")+"\n"+`{"kind": "smss", "status": "pending", `+due+`, "payload": {"to": "`+phone+`"}}`)
	documents, _ := answer["documents"].([]any)
	if status != http.StatusOK || answer["valid"] != false || len(documents) != 2 {
		t.Fatalf("a mistyped kind: %d %v", status, answer)
	}
	wrong := documents[1].(map[string]any)
	reasons, _ := wrong["reasons"].([]any)
	if wrong["valid"] != false || wrong["line"] != 2.0 || len(reasons) != 1 || reasons[0].(map[string]any)["path"] != "kind" {
		t.Errorf("a mistyped kind: %v", wrong)
	}
	for text, want := range map[string]int{"": http.StatusBadRequest, "{": http.StatusBadRequest, strings.Repeat(" ", mostPosted+1): http.StatusRequestEntityTooLarge} {
		if status, _ := postTo(t, url, text); status != want {
			t.Errorf("%d bytes: status %d, want %d", len(text), status, want)
		}
	}
	if status, _ := postTo(t, url+"/elsewhere", smsDocument("")); status != http.StatusNotFound {
		t.Errorf("another path: status %d", status)
	}
	if code := end(); code != exitDone {
		t.Errorf("it ended with %d", code)
	}

	url, end = validator(t, "--allow-unknown-kinds")
	if _, answer := postTo(t, url, `{"kind": "fax", "status": "pending", `+due+`, "payload": {}}`); answer["valid"] != true {
		t.Errorf("an unknown kind that is allowed: %v", answer)
	}
	end()
}

func TestValidateServesNobodyElse(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"--serve", "0.0.0.0:0"}, {"--serve", "[::]:0"}, {"--serve", "192.0.2.1:8429"}, {"--serve", "localhost:8429"}, {"--serve", "8429"},
		{"--serve", "127.0.0.1:0", "-"}, {},
	} {
		if r := outboxdOn(t, "", append([]string{"validate"}, args...)...); r.code != exitWrongUse || r.err == "" {
			t.Errorf("%v: %+v", args, r)
		}
	}
}
