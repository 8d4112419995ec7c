// Command dashboards writes the Grafana dashboard of outboxd to the file that it is given, or to standard output.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "dashboards:", err)
		os.Exit(1)
	}
}

// run writes the dashboard to the file named by the only argument, or to out.
func run(args []string, out io.Writer) error {
	built, err := board().Build()
	if err != nil {
		return fmt.Errorf("build the dashboard: %w", err)
	}
	text, err := json.MarshalIndent(built, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the dashboard: %w", err)
	}
	text = append(text, '\n')
	if len(args) == 0 {
		_, err = out.Write(text)
		return err
	}
	return os.WriteFile(args[0], text, 0o644)
}
