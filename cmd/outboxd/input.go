package main

import (
	"fmt"
	"io"
	"os"
)

// read returns what is in a file, or on standard input for "-", and how to name it.
func (p *program) read(file string) (text []byte, name string, err error) {
	if file == "-" {
		text, err = io.ReadAll(p.in)
		if err != nil {
			return nil, "", fmt.Errorf("read standard input: %w", err)
		}
		return text, "-", nil
	}
	text, err = os.ReadFile(file)
	if err != nil {
		return nil, "", wrongUse("read the file that the command line names: %w", err)
	}
	return text, file, nil
}
