package journal_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/outboxd/outboxd/integration/chaos/journal"
)

func TestJournalKeepsWhatWasAdded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j, err := journal.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"a", "two\nlines", "c"} {
		if err := j.Add(text); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := journal.Read[string](path); err != nil || !slices.Equal(got, []string{"a", "two\nlines", "c"}) {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := journal.Create(path); err == nil {
		t.Error("an old journal was written over")
	}
}

// A writer that is killed leaves half a line at most.
func TestJournalWithoutItsEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	if err := os.WriteFile(path, []byte("1\n2\n3"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := journal.Read[int](path); err != nil || !slices.Equal(got, []int{1, 2}) {
		t.Errorf("%v, %v", got, err)
	}
	if err := os.WriteFile(path, []byte("1\nx\n3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := journal.Read[int](path); err == nil {
		t.Error("a broken line in the middle went unnoticed")
	}
}
