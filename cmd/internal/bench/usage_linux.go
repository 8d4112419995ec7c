package bench

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// used returns what this process took so far.
func used() usage {
	u := usage{Resident: statusField("/proc/self/status", "VmRSS"), ResidentMost: statusField("/proc/self/status", "VmHWM")}
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) == nil {
		u.CPU = time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	return u
}

// statusField reads a field of kilobytes in one of the kernel's files, in bytes; 0 if it is not there.
func statusField(path, name string) int64 {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	for l := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(l, name+":"); ok {
			n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return n << 10
		}
	}
	return 0
}

func memory() int64 { return statusField("/proc/meminfo", "MemTotal") }

// loadAverage returns how many processes wanted the processor over the last minute.
func loadAverage() float64 {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(data), " ")
	n, _ := strconv.ParseFloat(first, 64)
	return n
}

// processorTime returns the total and the stolen time of the processors that this process may use, in the kernel's
// ticks since the machine started. Time is stolen while another virtual machine runs and work waits here.
func processorTime() (all, stolen int64) {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0
	}
	allowed := allowedProcessors()
	for l := range strings.Lines(string(data)) {
		fields := strings.Fields(l)
		if len(fields) < 9 || !allowed[fields[0]] {
			continue
		}
		for i, field := range fields[1:9] { // user, nice, system, idle, iowait, irq, softirq, steal
			n, _ := strconv.ParseInt(field, 10, 64)
			all += n
			if i == 7 {
				stolen += n
			}
		}
	}
	return all, stolen
}

// allowedProcessors returns the names of the processors that this process may use.
func allowedProcessors() map[string]bool {
	names := make(map[string]bool)
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return names
	}
	for l := range strings.Lines(string(data)) {
		list, ok := strings.CutPrefix(l, "Cpus_allowed_list:")
		if !ok {
			continue
		}
		for part := range strings.SplitSeq(strings.TrimSpace(list), ",") { // such as 0-3,8
			from, to, isRange := strings.Cut(part, "-")
			if !isRange {
				to = from
			}
			first, _ := strconv.Atoi(from)
			last, _ := strconv.Atoi(to)
			for n := first; n <= last; n++ {
				names["cpu"+strconv.Itoa(n)] = true
			}
		}
	}
	return names
}

// processor names the processor's model.
func processor() string {
	data, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for l := range strings.Lines(string(data)) {
		if name, value, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
