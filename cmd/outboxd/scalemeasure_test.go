//go:build scale

package main

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/outboxd/outboxd/outbox"
)

const (
	scaleCounted  = 7 // requests of each view, without other load
	scaleTick     = 100 * time.Millisecond
	scaleWatchers = 3
	scaleWatch    = 2500 * time.Millisecond // between two looks of one of them
)

// fetch asks the admin process once, as the page's own updates do if asked, and says how long it took.
func (s *scale) fetch(path string, update bool) (status int, body []byte, took time.Duration, err error) {
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.admin.url+path, http.NoBody)
	if err != nil {
		return 0, nil, 0, err
	}
	if update {
		req.Header.Set("HX-Request", "true")
	}
	began := time.Now()
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, nil, 0, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	return resp.StatusCode, body, time.Since(began), err
}

// ask sends n requests of a view, with what is to be done before and after each one. It returns how long they took, and
// how many were not answered with 200.
func (s *scale) ask(v scaleView, n int, begin, end func()) (took []time.Duration, failed int) {
	s.t.Helper()
	after := ""
	for i := range n {
		path := v.path(i)
		if v.follow && after != "" {
			path += "&after=" + url.QueryEscape(after)
		}
		begin()
		status, body, d, err := s.fetch(path, false)
		end()
		if err != nil {
			s.t.Fatalf("%s: %v\n%s", v.name, err, s.admin.log)
		}
		if status != http.StatusOK {
			if failed++; failed == 1 {
				s.t.Errorf("%s: GET %s: status %d: %.300s", v.name, path, status, body)
			}
		}
		after = next(body)
		took = append(took, d)
	}
	slices.Sort(took)
	return took, failed
}

// latencies prints how long the views take.
func (s *scale) latencies(views []scaleView, requests int) {
	s.t.Helper()
	s.table([]any{"view", "p50 ms", "p95 ms", "max ms", "not 200"}, func(line func(...any)) {
		for _, v := range views {
			took, failed := s.ask(v, requests, func() {}, func() {})
			ms := func(q float64) string {
				d := took[int(math.Ceil(q*float64(len(took))))-1]
				return fmt.Sprintf("%.1f", float64(d.Microseconds())/1000)
			}
			line(v.name, ms(0.5), ms(0.95), ms(1), failed)
		}
	})
}

// examined prints how many documents and index entries the server looks at for a request.
func (s *scale) examined(views []scaleView) {
	s.t.Helper()
	s.table([]any{"view", "documents", "keys", "most documents", "most keys"}, func(line func(...any)) {
		for _, v := range views {
			var docs, keys []int64
			var d, k int64
			s.ask(v, scaleCounted, func() { d, k = s.counters() }, func() {
				d2, k2 := s.counters()
				docs, keys = append(docs, d2-d), append(keys, k2-k)
			})
			slices.Sort(docs)
			slices.Sort(keys)
			middle, last := len(docs)/2, len(docs)-1
			line(v.name, docs[middle], keys[middle], docs[last], keys[last])
		}
	})
}

// counters asks the server how many documents and index entries it has looked at since its start.
func (s *scale) counters() (docs, keys int64) {
	s.t.Helper()
	var status struct {
		Metrics struct {
			QueryExecutor struct {
				Scanned        int64
				ScannedObjects int64 `bson:"scannedObjects"`
			} `bson:"queryExecutor"`
		}
	}
	if err := s.db.Client().Database("admin").RunCommand(s.t.Context(), bson.D{{Key: "serverStatus", Value: 1}}).Decode(&status); err != nil {
		s.t.Fatal(err)
	}
	return status.Metrics.QueryExecutor.ScannedObjects, status.Metrics.QueryExecutor.Scanned
}

// table prints lines below a heading, each as soon as it is known.
func (s *scale) table(headings []any, fill func(line func(...any))) {
	s.t.Helper()
	line := func(cells ...any) {
		s.t.Helper()
		var text strings.Builder
		for i, cell := range cells {
			fmt.Fprintf(&text, []string{"%-38v", "%16v"}[min(i, 1)], cell)
		}
		s.t.Log(text.String())
	}
	line(headings...)
	fill(line)
}

// metric reads one series of the worker.
func (s *scale) metric(series string) float64 {
	s.t.Helper()
	_, page := get(s.t, s.metrics)
	for line := range strings.Lines(page) {
		if rest, ok := strings.CutPrefix(line, series+" "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				s.t.Fatal(err)
			}
			return n
		}
	}
	return 0
}

// done is how many intents the worker has settled as done.
func (s *scale) done() (sum int) {
	s.t.Helper()
	for _, kind := range []string{"charge", "email", "sms"} {
		sum += int(s.metric(fmt.Sprintf(`outboxd_settled_total{kind=%q,status="done"}`, kind)))
	}
	return sum
}

// until waits for something that comes, however busy the machine is.
func (s *scale) until(what string, ok func() bool) {
	s.t.Helper()
	tick, late := time.NewTicker(scaleTick), time.NewTimer(10*time.Minute)
	defer tick.Stop()
	defer late.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-late.C:
			s.t.Fatalf("%s: not within ten minutes\n%s", what, s.worker.log)
		}
	}
}

// load inserts about 500 intents a second until it is told to stop. It returns how many it were, a second.
func (s *scale) load() (stop func() (inserted int, rate float64)) {
	ended, began := make(chan struct{}), time.Now()
	inserted := 0
	var writer sync.WaitGroup
	writer.Go(func() {
		tick := time.NewTicker(scaleTick)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-ended:
				return
			}
			docs := []bson.D{s.fresh("charge")}
			for range 39 {
				docs = append(docs, s.fresh("email"))
			}
			for range 10 {
				docs = append(docs, s.fresh("sms"))
			}
			if _, err := s.outbox().InsertMany(s.t.Context(), docs); err != nil {
				s.t.Errorf("insert the load: %v", err)
				return
			}
			inserted += len(docs)
		}
	})
	return func() (int, float64) {
		close(ended)
		writer.Wait()
		return inserted, float64(inserted) / time.Since(began).Seconds()
	}
}

// fresh returns an intent that is due. Its _id comes after all that were there.
func (s *scale) fresh(kind string) bson.D {
	n := int(s.made.Add(1))
	return bson.D{{Key: "_id", Value: fmt.Sprintf("steady-%08d:%s", n, kind)}, {Key: "kind", Value: kind}, {Key: "status", Value: outbox.StatusPending}, {Key: "due_at", Value: time.Now()},
		{Key: "payload", Value: scalePayload(kind, n)}, {Key: "metadata", Value: bson.D{{Key: "order", Value: fmt.Sprintf("s%d", n)}}}, {Key: "created_at", Value: time.Now()}}
}

// watch lets people look at the overview until it is told to stop.
func (s *scale) watch() (stop func() (looks int)) {
	ended := make(chan struct{})
	var people sync.WaitGroup
	var looks [scaleWatchers]int
	for i := range scaleWatchers {
		people.Go(func() {
			tick := time.NewTicker(scaleWatch)
			defer tick.Stop()
			for {
				if status, _, _, err := s.fetch("/", true); err != nil || status != http.StatusOK {
					s.t.Errorf("a look at the overview: status %d, %v", status, err)
					return
				}
				looks[i]++
				select {
				case <-tick.C:
				case <-ended:
					return
				}
			}
		})
	}
	return func() (sum int) {
		close(ended)
		people.Wait()
		for _, n := range looks {
			sum += n
		}
		return sum
	}
}

// round has the worker work off n e-mails that wait, and returns how many it were a second.
func (s *scale) round(n int, watched bool) float64 {
	s.t.Helper()
	s.admin.call(s.t, "POST", "/api/v1/lanes/email/pause", `{"why":"a backlog is made"}`).want(s.t, 200)
	s.until("the pause", func() bool { return s.metric(`outboxd_lane_state{kind="email",state="paused"}`) == 1 })
	base := s.done()
	for from := 0; from < n; from += scaleBatch {
		docs := make([]bson.D, min(scaleBatch, n-from))
		for i := range docs {
			docs[i] = s.fresh("email")
		}
		if _, err := s.outbox().InsertMany(s.t.Context(), docs); err != nil {
			s.t.Fatal(err)
		}
	}
	s.checkpoint()
	if watched {
		stop := s.watch()
		defer func() { s.t.Logf("the overview was looked at %d times", stop()) }()
	}
	s.admin.call(s.t, "POST", "/api/v1/lanes/email/resume", `{"why":"the backlog is made"}`).want(s.t, 200)
	var first, last time.Time
	begun := 0
	s.until("the end of the backlog", func() bool {
		done := s.done() - base
		if first.IsZero() && done > 0 {
			first, begun = time.Now(), done
		}
		last = time.Now()
		return done >= n
	})
	if begun == n {
		s.t.Fatalf("%d intents are too few to measure: all were done within one look", n)
	}
	return float64(n-begun) / last.Sub(first).Seconds()
}

// throughput compares the worker's throughput with and without somebody who looks.
func (s *scale) throughput(n int) {
	s.t.Helper()
	s.round(n/4, false) // connections, caches
	s.table([]any{"round", "alone /s", "watched /s", "watched ÷ alone"}, func(line func(...any)) {
		var sums [2]float64
		for i := range 2 {
			alone, watched := s.round(n, false), s.round(n, true)
			sums[0], sums[1] = sums[0]+alone, sums[1]+watched
			line(i+1, fmt.Sprintf("%.0f", alone), fmt.Sprintf("%.0f", watched), fmt.Sprintf("%.3f", watched/alone))
		}
		line("both", fmt.Sprintf("%.0f", sums[0]/2), fmt.Sprintf("%.0f", sums[1]/2), fmt.Sprintf("%.3f", sums[1]/sums[0]))
	})
}
