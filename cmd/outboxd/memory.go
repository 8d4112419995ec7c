package main

import "runtime/debug"

// gcPercent is how much a worker's heap grows between collections. At full load, Go's default of 100 collects some
// dozen times a second for a heap of a few megabytes. That takes a quarter of the worker's processor time. The memory
// that a larger value takes is small beside the limit of a container.
const gcPercent = 400

// memoryLimit is above what a worker has under full load. Where large documents take more for a moment, garbage is
// collected sooner instead, so that a worker fits into a container of 200 MB.
const memoryLimit = 112 << 20

// collectSeldom trades a few megabytes for processor time, unless GOGC and GOMEMLIMIT say what is wanted.
func (p *program) collectSeldom() {
	if p.env("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if p.env("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
}
