package dispatcher

import "time"

// probeEvery is how often a held lane sends one intent to see whether our credentials are accepted again.
const probeEvery = time.Minute

// hold is set while the provider refuses our credentials or account. It is guarded by its lane's lock.
type hold struct {
	since time.Time // zero: not held
	code  string
	probe time.Time // when the next probe may go
}

func (h *hold) on() bool { return !h.since.IsZero() }

// begin reports whether the lane was not held before.
func (h *hold) begin(now time.Time, code string) bool {
	first := !h.on()
	if first {
		h.since, h.code = now, code
	}
	h.probe = now.Add(probeEvery)
	return first
}

// end reports whether the lane was held.
func (h *hold) end() bool {
	was := h.on()
	*h = hold{}
	return was
}
