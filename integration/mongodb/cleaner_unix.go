//go:build unix

package mongodb

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// cleanerScript waits for the end of its input, which comes with the end of the process that holds the other end of the
// pipe, whatever ended it. Then it kills the servers whose process ids are noted below the directory and removes it. A
// server's last writes may race with the removal, so it is tried again for a few seconds.
const cleanerScript = `
read -r line
for file in "$1"/*/` + pidFile + `; do
  if [ -s "$file" ]; then kill -9 "$(cat "$file")"; fi
done
for try in 1 2 3 4 5 6 7 8 9 10; do
  rm -rf -- "$1" && exit 0
  sleep 0.5
done
exit 1
`

// cleaner is a small shell process that outlives this one by a moment and removes what it left behind.
type cleaner struct {
	dir     string
	process *process
	input   io.Closer
}

// startCleaner starts a cleaner for dir.
func startCleaner(dir string) (*cleaner, error) {
	cmd := exec.Command("/bin/sh", "-c", cleanerScript, "outboxd-cleaner", dir)
	cmd.Dir = "/"
	// Whatever this process's own search path is, the script finds rm.
	cmd.Env = []string{"PATH=/usr/bin:/bin:" + os.Getenv("PATH")}
	input, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	// It must outlive this process, so no parent-death signal; only out of reach of the terminal's signals.
	p, err := startProcess(cmd, &syscall.SysProcAttr{Setpgid: true}, "")
	if err != nil {
		return nil, err
	}
	return &cleaner{dir: dir, process: p, input: input}, nil
}

// stop removes the directory and ends the cleaner, whose script then finds nothing to do, and waits for that.
func (c *cleaner) stop() error {
	errs := []error{os.RemoveAll(c.dir)}
	_ = c.input.Close() // Fails only where the cleaner has ended already, which the wait sees.
	select {
	case <-c.process.done:
		if c.process.err != nil {
			errs = append(errs, fmt.Errorf("run the cleaner of the throw-away servers: %w", c.process.err))
		}
	case <-time.After(stopTimeout):
		errs = append(errs, fmt.Errorf("the cleaner of the throw-away servers is still there after %s", stopTimeout))
	}
	return errors.Join(errs...)
}
