package main

import "runtime/debug"

// gcPercent is how much a worker's heap grows between collections. At full load Go's default of 100 collects some dozen
// times a second for a heap of a few megabytes, which is a quarter of the worker's processor time; so much more memory than
// that is of no weight beside the limit of a container.
const gcPercent = 400

// collectSeldom trades a few megabytes for processor time, unless GOGC says what is wanted.
func (p *program) collectSeldom() {
	if p.env("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
