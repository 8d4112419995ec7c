// Command simulate judges a policy of claiming in a second: it lets workers run on a model of the database, in time
// that takes none. It prints how long intents wait for their call at rising loads, and how many get done at full load.
//
//	go run ./dispatcher/internal/schedule/simulate
//	go run ./dispatcher/internal/schedule/simulate -without
//
// The first prints the curve of the policy that workers have. The second switches off one rule after the other, and
// prints what each is worth. The model is in database.go; what it says is checked on a real MongoDB by `outboxd bench`
// before anything rests on it.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/outboxd/outboxd/dispatcher/internal/schedule"
)

// rule is a rule that can be switched off.
type rule struct {
	name string
	off  func(*schedule.Policy)
}

func rules() []rule {
	return []rule{
		{"(all of them)", func(*schedule.Policy) {}},
		{"named claims", func(p *schedule.Policy) { p.NamedClaims = 0 }},
		{"two named claims", func(p *schedule.Policy) { p.NamedClaims = 1 }},
		{"merge hints", func(p *schedule.Policy) { p.Merge = 0 }},
		{"spread hints", func(p *schedule.Policy) { p.Spread = 0 }},
		{"space claims", func(p *schedule.Policy) { p.Spacing = 0 }},
		{"gather slots", func(p *schedule.Policy) { p.Gather = 0 }},
		{"two claims", func(p *schedule.Policy) { p.PairedFrom = 0 }},
		{"second claim of a busy lane", func(p *schedule.Policy) { p.Worth = 1 << 30 }},
		{"claim ahead", func(p *schedule.Policy) { p.Ahead = 0 }},
	}
}

// loads are what comes in a second; 0 is a backlog that never ends.
var loads = []int{10, 200, 500, 1000, 2000, 4000, 0}

func main() {
	without := flag.Bool("without", false, "switch off one rule after the other")
	calls := flag.Duration("call", 0, "how long a call takes")
	slots := flag.Int("slots", 256, "concurrency of a worker")
	seed := flag.Uint64("seed", 1, "of the chance in it")
	flag.Parse()
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	head := []string{"without", "workers"}
	for _, load := range loads[:len(loads)-1] {
		head = append(head, fmt.Sprintf("%d/s", load))
	}
	printRow(out, append(head, "backlog"))
	for _, workers := range []int{1, 2} {
		for _, r := range rules() {
			p := schedule.Default()
			r.off(&p)
			row := []string{r.name, strconv.Itoa(workers)}
			for _, load := range loads {
				w := newWorld(p, workers, *slots, *calls, load, *seed)
				w.run(20 * time.Second)
				row = append(row, w.summary())
			}
			printRow(out, row)
			if !*without {
				break
			}
		}
	}
	_ = out.Flush()
	fmt.Println("\nEach field: median/99th percentile of insert to call in ms (claims for 100 intents); backlog: intents a second.")
}

func printRow(out io.Writer, fields []string) { _, _ = fmt.Fprintln(out, strings.Join(fields, "\t")) }
