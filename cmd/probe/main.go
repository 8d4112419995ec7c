// Command probe asks one URL. It ends with 0 if the answer is 200, else with 1 and the reason. It is the health check
// of the container image, which has neither a shell nor curl. It is no part of what users call.
//
//	probe http://127.0.0.1:8425/readyz
package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

const (
	// timeout bounds the whole question; it is below the shortest usual timeout of a container's health check.
	timeout = 3 * time.Second
	// reasonBytes is how much of a failing answer is shown.
	reasonBytes = 1 << 10
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: probe URL")
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	err := probe(ctx, os.Args[1])
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}

// probe returns an error, with the beginning of the answer, unless url answers 200. Redirects are not followed: what is
// asked has to be healthy itself.
func probe(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("ask %s: %w", url, err)
	}
	// Without the environment's proxy: the question is for this machine.
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("ask %s: %w", url, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		reason, _ := io.ReadAll(io.LimitReader(resp.Body, reasonBytes)) // What could be read is better than nothing.
		return fmt.Errorf("%s answers %s: %s", url, resp.Status, reason)
	}
	return nil
}
