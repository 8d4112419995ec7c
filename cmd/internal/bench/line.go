package bench

import "time"

// What a run says to a worker process, one word a line on its standard input. The end of the input ends the worker as
// well.
const (
	wordGo    = "go"    // serve
	wordUsage = "usage" // answer with a line that holds Usage
)

// line is what a worker process says, as JSON on its standard output.
type line struct {
	Ready    bool      `json:"ready,omitempty"`   // it is connected and waits for wordGo
	Serving  bool      `json:"serving,omitempty"` // the first claim was answered
	Progress *progress `json:"progress,omitempty"`
	Calls    []callAt  `json:"calls,omitempty"`
	Usage    *usage    `json:"usage,omitempty"`
	Summary  *summary  `json:"summary,omitempty"` // the last line
}

// progress is how many outcomes were written until an instant. Instants are of this machine's clock, which all
// processes of a run share.
type progress struct {
	At      int64 `json:"at"` // nanoseconds since 1970
	Settled int   `json:"settled"`
}

// callAt is when the provider was called for an intent.
type callAt struct {
	ID string `json:"id"`
	At int64  `json:"at"`
}

// usage is what a process took of the machine so far.
type usage struct {
	CPU          time.Duration `json:"cpu"`
	Resident     int64         `json:"resident"`
	ResidentMost int64         `json:"resident_most"`
}

// summary is what a worker process did.
type summary struct {
	First   int64           `json:"first"`   // when its first claim that got anything was sent
	Claims  []time.Duration `json:"claims"`  // how long claims took that got anything
	Claimed int             `json:"claimed"` // by them
	Lost    int             `json:"lost"`
	Usage   usage           `json:"usage"`
}
