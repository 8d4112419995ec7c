package simulator

import (
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"
)

// clock is the machine's clock with an offset that only grows.
type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.offset.Load())) }
func (c *clock) advance(d time.Duration) { c.offset.Add(int64(d)) }
func (c *clock) reset()                  { c.offset.Store(0) }

// settings are the delays that can be changed while the simulator runs, in nanoseconds.
type settings struct{ searchLag, logsDelay, queueDelay, latency atomic.Int64 }

func (t *settings) reset(cfg Config) {
	t.searchLag.Store(int64(cfg.searchLag()))
	t.logsDelay.Store(int64(max(cfg.LogsDelay, 0)))
	t.queueDelay.Store(int64(max(cfg.QueueDelay, 0)))
	t.latency.Store(int64(max(cfg.Latency, 0)))
}

func (t *settings) fields() map[string]*atomic.Int64 {
	return map[string]*atomic.Int64{
		"search_lag": &t.searchLag, "logs_delay": &t.logsDelay, "queue_delay": &t.queueDelay, "latency": &t.latency,
	}
}

// MarshalJSON writes each delay as a duration like "1m0s".
func (t *settings) MarshalJSON() ([]byte, error) {
	out := map[string]string{}
	for name, v := range t.fields() {
		out[name] = time.Duration(v.Load()).String()
	}
	return json.Marshal(out)
}

// update changes the named delays; nothing is changed if one of them is wrong.
func (t *settings) update(in map[string]string) error {
	fields := t.fields()
	parsed := map[string]time.Duration{}
	for name, text := range in {
		if fields[name] == nil {
			return fmt.Errorf("unknown setting %q; known are search_lag, logs_delay, queue_delay, latency", name)
		}
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 {
			return fmt.Errorf("setting %s: want a duration like \"90s\", not negative", name)
		}
		parsed[name] = d
	}
	for name, d := range parsed {
		fields[name].Store(int64(d))
	}
	return nil
}
