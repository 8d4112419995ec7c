package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
)

// clockVariable holds by how many seconds a worker's wall clock is wrong from its start on, by how many later, and
// after how many seconds that is: "-180 240 15".
const clockVariable = "CHAOS_CLOCK"

// A Go program asks the kernel for the time without going through the C library, so that no preloaded library can lie
// to it, and Linux has no namespace for the wall clock. So the workers of a chaos run are built with a package time
// whose Now reads the variable; everything else in them is what is shipped. Timers and intervals go by the monotonic
// clock, and so stay right, as they do on a machine whose wall clock is wrong.
const (
	nowBegins = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	nowWrong  = nowBegins + "\tsec += wrongBy(mono)\n"

	wrongFile = `package time

import "syscall"

var wrongClock = readWrongClock()

func readWrongClock() (clock [3]int64) {
	text, _ := syscall.Getenv("` + clockVariable + `")
	n, negative := 0, false
	for _, c := range []byte(text) {
		switch {
		case c == '-':
			negative = true
		case c == ' ':
			n, negative = min(n+1, 2), false
		case negative:
			clock[n] = 10*clock[n] - int64(c-'0')
		default:
			clock[n] = 10*clock[n] + int64(c-'0')
		}
	}
	return clock
}

func wrongBy(mono int64) int64 {
	if mono != 0 && mono-startNano > wrongClock[2]*1_000_000_000 {
		return wrongClock[1]
	}
	return wrongClock[0]
}
`
)

// wrongClocks writes what makes a build's clocks wrong into dir, and returns the file for go build -overlay.
func wrongClocks(goroot, dir string) (string, error) {
	original := filepath.Join(goroot, "src", "time", "time.go")
	source, err := os.ReadFile(original)
	if err != nil {
		return "", fmt.Errorf("read the source of package time: %w", err)
	}
	if strings.Count(string(source), nowBegins) != 1 {
		return "", errors.New("make clocks wrong: time.Now of this Go version does not begin as it did; adapt it in integration/chaos/clock.go")
	}
	changed := map[string]string{
		filepath.Join(dir, "time.go"):  strings.Replace(string(source), nowBegins, nowWrong, 1),
		filepath.Join(dir, "wrong.go"): wrongFile,
	}
	for path, text := range changed {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return "", fmt.Errorf("make clocks wrong: %w", err)
		}
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {
		original: filepath.Join(dir, "time.go"),
		filepath.Join(goroot, "src", "time", "wrong.go"): filepath.Join(dir, "wrong.go"),
	}})
	if err != nil {
		return "", fmt.Errorf("make clocks wrong: %w", err)
	}
	path := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(path, overlay, 0o600); err != nil {
		return "", fmt.Errorf("make clocks wrong: %w", err)
	}
	return path, nil
}

// drawClock returns a value for the variable: right, wrong by up to five minutes, or set while the worker runs.
func drawClock(r *rand.Rand) string {
	const most = 300
	wrong := func() int { return r.IntN(2*most+1) - most }
	switch r.IntN(3) {
	case 0:
		return "0 0 0"
	case 1:
		by := wrong()
		return fmt.Sprint(by, by, 0)
	default:
		return fmt.Sprint(wrong(), wrong(), 2+r.IntN(20))
	}
}
