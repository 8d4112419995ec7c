package dispatcher

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// listener is what other workers hear of gates and breakers.
type listener struct {
	Shared
	heard []string
}

func (l *listener) CloseGate(_ context.Context, kind string, d time.Duration) error {
	l.heard = append(l.heard, "gate of "+kind+" for "+d.String())
	return nil
}

func (l *listener) Break(_ context.Context, kind, worker string, d time.Duration) error {
	l.heard = append(l.heard, "breaker of "+kind+" at "+worker+" for "+d.String())
	return nil
}

// News may wait for the database. The others hear what is left then, and nothing of what is over.
func TestNewsThatWaitedTellWhatIsLeft(t *testing.T) {
	for name, c := range map[string]struct {
		waited time.Duration
		want   []string
	}{
		"told at once":      {0, []string{"gate of sms for 30s", "breaker of sms at w for 30s"}},
		"told late":         {10 * time.Second, []string{"gate of sms for 20s", "breaker of sms at w for 20s"}},
		"told when it ends": {30 * time.Second, nil},
		"told after it":     {time.Hour, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				heard := new(listener)
				p := &peers{shared: heard, worker: "w"}
				l := &lane{Lane: Lane{Kind: "sms"}, gate: gate{untold: 1}, told: make(chan told, toldKept)}
				until := time.Now().Add(30 * time.Second)
				<-time.After(c.waited)
				for _, what := range []what{gateClosed, breakerOpened} {
					if err := p.send(t.Context(), news{what: what, lane: l, until: until}); err != nil {
						t.Error(err)
					}
				}
				if !slices.Equal(heard.heard, c.want) {
					t.Errorf("heard %q, want %q", heard.heard, c.want)
				}
				if l.learn(<-l.told); l.gate.untold != 0 {
					t.Error("the gate still counts as untold, so nobody could open it")
				}
			})
		})
	}
}
