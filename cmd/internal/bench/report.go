package bench

import "time"

// Report is everything that one run measured. A part that was not run is absent. Durations are in milliseconds, sizes
// in bytes, rates in intents a second.
type Report struct {
	Began      time.Time  `json:"began"`
	Seconds    float64    `json:"seconds"`
	Machine    Machine    `json:"machine"`
	Versions   Versions   `json:"versions"`
	Server     Server     `json:"server"`
	Parameters Parameters `json:"parameters"`

	Ceiling   *Ceiling   `json:"ceiling,omitempty"`
	Worker    *Worker    `json:"worker,omitempty"`
	Latency   *Latency   `json:"latency,omitempty"`
	Curve     *Curve     `json:"curve,omitempty"`
	Flatness  *Flatness  `json:"flatness,omitempty"`
	Retention *Retention `json:"retention,omitempty"`
	Cost      *Cost      `json:"cost,omitempty"`
	Email     *Email     `json:"email,omitempty"`

	Bars []Bar `json:"bars"`
}

// Machine is what everything ran on, client and server alike unless the server is elsewhere.
type Machine struct {
	OS       string  `json:"os"`
	Arch     string  `json:"arch"`
	CPU      string  `json:"cpu,omitempty"`
	Cores    int     `json:"cores"`
	Memory   int64   `json:"memory_bytes,omitempty"`
	LoadThen float64 `json:"load_at_start"` // of the last minute; what others did on the machine
	LoadLast float64 `json:"load_at_end"`
	Stolen   float64 `json:"stolen_share"` // of the processors' time, had by other virtual machines; 0 where the system does not tell
}

// Versions are those of what was measured.
type Versions struct {
	Outboxd  string `json:"outboxd"`
	Revision string `json:"revision,omitempty"`
	Go       string `json:"go"`
	Driver   string `json:"driver"`
}

// Server is the MongoDB.
type Server struct {
	How          string `json:"how"`
	Version      string `json:"version"`
	Members      int    `json:"members"`
	Cache        int64  `json:"cache_bytes"`
	WriteConcern string `json:"write_concern"`
}

// Parameters are how the run was made.
type Parameters struct {
	Intents  int    `json:"intents"`      // in one round
	Rounds   int    `json:"rounds"`       // of each measurement
	Slots    int    `json:"slots"`        // of each worker process
	Document int    `json:"intent_bytes"` // one intent as it is inserted
	Deep     bool   `json:"deep"`
	Quick    bool   `json:"quick"`
	Logging  string `json:"logging"`
}

// Spread is a figure measured several times.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// Ceiling is what the database allows without a worker.
type Ceiling struct {
	Tries    []CeilingTry `json:"tries"`
	Batch    int          `json:"batch"`    // of the best
	Parallel int          `json:"parallel"` // of the best
	Rate     float64      `json:"intents_per_s"`
}

// CeilingTry is one combination that was tried.
type CeilingTry struct {
	Batch    int     `json:"batch"`
	Parallel int     `json:"parallel"`
	Rate     float64 `json:"intents_per_s"`
	CPU      float64 `json:"server_cpu_s_per_1000"`
}

// Worker is how fast preloaded intents go from claim to done.
type Worker struct {
	Crews []Crew `json:"crews"`
}

// Crew is the throughput of a number of processes.
type Crew struct {
	Processes int     `json:"processes"`
	Rate      Spread  `json:"intents_per_s"`
	OfCeiling Spread  `json:"share_of_ceiling"` // measured right before, round by round
	OfOne     *Spread `json:"share_of_one_process,omitempty"`
	ClaimP50  float64 `json:"claim_p50_ms"`
	ClaimSize float64 `json:"intents_per_claim"`
	CPU       float64 `json:"server_cpu_s_per_1000"`
	Conflicts float64 `json:"write_conflicts_per_intent"`
}

// Latency is from the acknowledgement of an insert to the call of the provider.
type Latency struct {
	Insert   Percentiles `json:"insert_alone"` // of the idle part: what the server takes for one write by itself, before the wait begins
	Idle     Percentiles `json:"idle"`
	HalfLoad Percentiles `json:"half_load"` // of all rounds together
	HalfP99  Spread      `json:"half_load_p99_ms"`
	Stolen   []float64   `json:"half_load_stolen_share"` // as of Machine, round by round
	HalfRate float64     `json:"half_load_intents_per_s"`
}

// Curve is the latency at rising loads.
type Curve struct {
	Full   float64      `json:"full_load_intents_per_s"` // what one process does
	Points []CurvePoint `json:"points"`
}

// CurvePoint is the latency at one load, from the acknowledgement of an insert to the call of the provider.
type CurvePoint struct {
	Rate  float64     `json:"intents_per_s"`
	Share float64     `json:"share_of_full_load"`
	Waits Percentiles `json:"waits"`
}

// Percentiles are of durations in milliseconds.
type Percentiles struct {
	N   int     `json:"n"`
	P50 float64 `json:"p50_ms"`
	P95 float64 `json:"p95_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`
}

// Flatness is the throughput beside ballast.
type Flatness struct {
	Steps []FlatStep `json:"steps"`
}

// Retention is the throughput while the database deletes finished intents whose time has come.
type Retention struct {
	Finished int    `json:"finished"` // when the deletion began
	Deleted  Spread `json:"deleted_per_s"`
	Rate     Spread `json:"intents_per_s"`
	OfNone   Spread `json:"share_of_none"` // measured right before, round by round
}

// FlatStep is one size of ballast.
type FlatStep struct {
	Waiting  int     `json:"waiting"`  // due, in the same lane
	NotDue   int     `json:"not_due"`  // due in an hour or later, in the same lane
	Finished int     `json:"finished"` // done and kept
	Rate     Spread  `json:"intents_per_s"`
	OfNone   Spread  `json:"share_of_none"` // measured right before, round by round
	ClaimP50 float64 `json:"claim_p50_ms"`
	ClaimP99 float64 `json:"claim_p99_ms"`
	CPU      float64 `json:"server_cpu_s_per_1000"`
	CPUNone  float64 `json:"server_cpu_s_per_1000_beside_none"`
}

// Cost is what an intent, and what idling, takes.
type Cost struct {
	Load Load `json:"full_load"`
	Idle Idle `json:"idle"`
}

// Load is the cost at full load, one process.
type Load struct {
	RoundTrips float64            `json:"round_trips_per_intent"`
	Commands   map[string]float64 `json:"commands_per_intent"`
	Writes     float64            `json:"document_writes_per_intent"`
	BytesIn    float64            `json:"server_bytes_in_per_intent"`
	BytesOut   float64            `json:"server_bytes_out_per_intent"`
	WorkerCPU  float64            `json:"worker_cpu_s_per_1000"`
	ServerCPU  float64            `json:"server_cpu_s_per_1000"`
	Resident   int64              `json:"worker_resident_bytes"` // at most
}

// Idle is the cost of one minute without anything to do, three lanes served.
type Idle struct {
	Seconds   float64            `json:"seconds"`
	Queries   float64            `json:"queries_per_s"` // all commands but the driver's own monitoring
	Commands  map[string]float64 `json:"commands_per_min"`
	WorkerCPU float64            `json:"worker_cpu_s_per_min"`
	ServerCPU float64            `json:"server_cpu_s_per_min"`
	Resident  int64              `json:"worker_resident_bytes"`
}

// Email is the way through the real SDK over HTTP.
type Email struct {
	Parallel int    `json:"parallel"`
	Alone    Spread `json:"sdk_alone_per_s"`
	Worker   Spread `json:"worker_per_s"`
	OfAlone  Spread `json:"share_of_sdk_alone"`
}

// Bar is one promise and whether this run kept it.
type Bar struct {
	Figure string  `json:"figure"`
	Want   string  `json:"want"`
	Got    float64 `json:"got"`
	Unit   string  `json:"unit,omitempty"`
	Met    bool    `json:"met"`
}
