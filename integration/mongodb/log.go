package mongodb

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

const (
	// tailBytes is how much of a log's end is read for an error.
	tailBytes = 64 << 10
	// tailLines is how many of its lines an error shows at most, tailWidth how much of each.
	tailLines = 12
	tailWidth = 500
)

// tail returns the lines of a mongod's log that tell why it failed, to be appended to an error: what is not in mongod's
// own format (the dynamic loader's words, say), errors and worse, and the last three lines whatever they are. A mongod
// that fails writes twenty lines about its orderly end after the one that counts.
func tail(path string) string {
	lines, err := lastLines(path)
	if err != nil {
		return fmt.Sprintf("\n\t(its log cannot be read: %v)", err)
	}
	var chosen []string
	for i, line := range lines {
		if i >= len(lines)-3 || telling(line) {
			if len(line) > tailWidth {
				line = line[:tailWidth] + "…"
			}
			chosen = append(chosen, "\n\t"+line)
		}
	}
	return strings.Join(chosen[max(0, len(chosen)-tailLines):], "")
}

// telling reports whether a line of a log is more than a progress report.
func telling(line string) bool {
	var entry struct {
		Severity string `json:"s"`
	}
	return json.Unmarshal([]byte(line), &entry) != nil || entry.Severity == "E" || entry.Severity == "F"
}

func lastLines(path string) ([]string, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	text := make([]byte, min(info.Size(), tailBytes))
	if _, err := file.ReadAt(text, info.Size()-int64(len(text))); err != nil {
		return nil, err
	}
	if info.Size() > tailBytes { // The first line is cut.
		_, text, _ = bytes.Cut(text, []byte("\n"))
	}
	return strings.Split(strings.TrimRight(string(text), "\n"), "\n"), nil
}
