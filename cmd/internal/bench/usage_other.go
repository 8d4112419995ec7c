//go:build !linux

package bench

import "runtime"

// used returns what this process took so far, as the Go runtime knows it: memory that is mapped stands for what is
// resident, and processor time is not told.
func used() usage {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{Resident: int64(m.Sys - m.HeapReleased), ResidentMost: int64(m.Sys)}
}

func memory() int64                      { return 0 }
func loadAverage() float64               { return 0 }
func processor() string                  { return "" }
func processorTime() (all, stolen int64) { return 0, 0 }
