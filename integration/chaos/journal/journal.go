// Package journal is a file of JSON lines that survives the end of its writer: what a producer was told about its
// transactions, and what the harness did to whom. A line that was cut off by the end of the process is no line.
package journal

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// Journal is a file to which lines are appended. Its methods may be called from several goroutines at once.
type Journal struct {
	mu   sync.Mutex
	file *os.File
}

// Create makes the file, which must not exist.
func Create(path string) (*Journal, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create a journal: %w", err)
	}
	return &Journal{file: file}, nil
}

// Add appends one entry in one write, so that entries of several writers do not mix.
func (j *Journal) Add(entry any) error {
	line, err := json.Marshal(entry)
	if err != nil {
		return fmt.Errorf("write to the journal: %w", err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, err := j.file.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("write to the journal: %w", err)
	}
	return nil
}

// Close makes what was added durable and closes the file.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return errors.Join(j.file.Sync(), j.file.Close())
}

// Read returns the entries of a file in their order.
func Read[T any](path string) ([]T, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read a journal: %w", err)
	}
	defer file.Close()
	var entries []T
	lines := bufio.NewReader(file)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return entries, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read the journal %s: %w", path, err)
		}
		var entry T
		if err := json.Unmarshal(bytes.TrimSpace(line), &entry); err != nil {
			return nil, fmt.Errorf("read line %d of the journal %s: %w", n, path, err)
		}
		entries = append(entries, entry)
	}
}
