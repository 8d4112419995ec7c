package providertest

import (
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
)

// capture sends the standard streams and the standard loggers into a file until the test ends, and returns a function
// that reads what came so far. SDKs write there without being asked.
func capture(t *testing.T) func() string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "out")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	stdout, stderr, logger, writer := os.Stdout, os.Stderr, slog.Default(), log.Writer()
	os.Stdout, os.Stderr = file, file
	log.SetOutput(file)
	slog.SetDefault(slog.New(slog.NewTextHandler(file, &slog.HandlerOptions{Level: slog.LevelDebug})))
	t.Cleanup(func() {
		os.Stdout, os.Stderr = stdout, stderr
		slog.SetDefault(logger)
		log.SetOutput(writer)
		_ = file.Close() // everything was written through it without a buffer
	})
	return func() string {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
		}
		return string(data)
	}
}
